package clock

// counterName is what Source answers when the counter is used.
const counterName = "cntvct"

// distrust has nothing to say: the generic timer runs at a fixed rate and is
// shared by all cores (Arm ARM DDI 0487 §D12.1).
func distrust() string { return "" }
