package perf

import (
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var guestLine = regexp.MustCompile(`(?m)guestperf (\d+) (\d+) (\S+) ([0-9.]+) ([0-9.]+)`)

var guestPeers = map[string]string{"qemu-img": "qemu-img bench on nvme://", "fio": "fio io_uring on the kernel's driver"}

// TestPerfGuest compares three drivers of one emulated controller in a guest: ours, QEMU's own and the kernel's. Rounds in which a peer's
// program did not end are left out of its pairs.
func TestPerfGuest(t *testing.T) {
	needPerf(t)
	cmd := exec.Command("go", "test", "./engine/enginetest/guest", "-count=1", "-v", "-timeout=60m", "-run=TestGuestPerf$",
		"-args", fmt.Sprintf("-guest.perf=%d", *pairsFlag))
	cmd.Dir = root(t)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	type key struct {
		depth, program string
	}
	got := map[key]map[string]Sample{} // by round
	for _, m := range guestLine.FindAllStringSubmatch(string(out), -1) {
		rate, err1 := strconv.ParseFloat(m[4], 64)
		cpu, err2 := strconv.ParseFloat(m[5], 64)
		if err1 != nil || err2 != nil {
			t.Fatal(m[0])
		}
		k := key{m[2], m[3]}
		if got[k] == nil {
			got[k] = map[string]Sample{}
		}
		got[k][m[1]] = Sample{Rate: rate, CPU: cpu}
	}
	var rows []row
	for _, depth := range []string{"1", "32"} {
		for _, ours := range []string{"blkbench", "blkbench-interrupts"} {
			for _, peer := range []string{"qemu-img", "fio"} {
				var a, b []Sample
				for round, s := range got[key{depth, ours}] {
					if p, ok := got[key{depth, peer}][round]; ok {
						a, b = append(a, s), append(b, p)
					}
				}
				r := row{
					name: fmt.Sprintf("%s, depth %s, against %s", strings.ReplaceAll(ours, "-", " with "), depth, guestPeers[peer]),
					rate: Ratios(field(a, rateOf), field(b, rateOf)), cpu: Ratios(field(a, cpuOf), field(b, cpuOf)),
				}
				if ours == "blkbench" {
					r.goal, r.met = "rate ≥ 1.2×, CPU ≤ 0.5×", r.rate.Median >= 1.2 && r.cpu.Median <= 0.5
				}
				rows = append(rows, r)
			}
		}
	}
	document(t, "guest", append([]string{
		"In one boot of a guest under emulation, on one controller: 4 KiB sequential reads by whole programs, their start-up in the CPU time. The rate is",
		"that of the measured window. Pairs are fewer where qemu-img bench did not end. Guest figures are ratios, nothing else.", "", machine(), "",
	}, table(rows)...))
}
