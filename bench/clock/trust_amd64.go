package clock

// counterName is what Source answers when the counter is used.
const counterName = "tsc"

// cpuid is the CPUID instruction with ECX zero.
//
//go:noescape
func cpuid(leaf uint32) (eax, ebx, ecx, edx uint32)

// distrust says why the counter must not be used as a clock, or "".
//
// Intel SDM vol. 3B §18.17.1: an invariant TSC runs at a constant rate in all
// ACPI P-, C- and T-states (CPUID.80000007H:EDX[8]).
func distrust() string {
	const leaf, invariantTSC = 0x80000007, 1 << 8
	if highest, _, _, _ := cpuid(0x80000000); highest < leaf {
		return "processor does not say whether its tsc is invariant"
	}
	if _, _, _, edx := cpuid(leaf); edx&invariantTSC == 0 {
		return "tsc is not invariant"
	}
	return kernelDistrust()
}
