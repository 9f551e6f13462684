package gen

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/bench/internal/fiotest"
)

// fioOps are the requests fio makes for a job on a null target, in order.
func fioOps(t *testing.T, args ...string) []Op {
	t.Helper()
	r := fiotest.Run(t, append([]string{"--name=j", "--ioengine=null", "--write_lat_log=j", "--log_offset=1"}, args...)...)
	rows := r.Rows(t, "j_lat.1.log")
	ops := make([]Op, len(rows))
	for i, row := range rows {
		var v [5]uint64
		for k := 2; k < 5; k++ {
			var err error
			if v[k], err = strconv.ParseUint(row[k], 10, 64); err != nil {
				t.Fatal(err)
			}
		}
		ops[i] = Op{Off: int64(v[4]), Len: uint32(v[3]), Dir: Dir(v[2])}
	}
	return ops
}

func ours(t *testing.T, cfg Config, n int) []Op {
	t.Helper()
	ops := make([]Op, n)
	mustNew(t, cfg).Fill(ops)
	return ops
}

// Without chance in it, fio makes just these requests.
func TestInteropSequencesAreFios(t *testing.T) {
	for _, c := range []struct {
		args string
		cfg  Config
	}{
		{"--rw=read --size=128k", Config{}},
		{"--rw=read --size=130k --io_size=300k", Config{Size: 130 * kib}},
		{"--rw=write --size=64k --offset=32k --io_size=256k", Config{Pattern: SeqWrite, Size: 64 * kib, Offset: 32 * kib}},
		{"--rw=read:4k --size=128k --io_size=256k", Config{Stride: 4 * kib}},
		{"--rw=read:-8k --size=128k --io_size=256k", Config{Stride: -8 * kib}},
		{"--rw=trimwrite --size=128k", Config{Pattern: SeqTrimWrite}},
		{
			"--rw=read --size=128k --zonemode=strided --zonesize=16k --zonerange=32k --zoneskip=8k --io_size=256k",
			Config{Zone: Strided{Size: 16 * kib, Range: 32 * kib, Skip: 8 * kib}},
		},
		{
			"--rw=read --size=128k --zonemode=strided --zonesize=64k --zonerange=32k --io_size=256k",
			Config{Zone: Strided{Size: 64 * kib, Range: 32 * kib}},
		},
	} {
		theirs := fioOps(t, append(strings.Fields(c.args), "--bs=4k")...)
		if c.cfg.Size == 0 {
			c.cfg.Size = 128 * kib
		}
		c.cfg.Sizes = fixed(4 * kib)
		if got := ours(t, c.cfg, len(theirs)); !slices.Equal(got, theirs) {
			t.Errorf("%s:\nours %v\nfio  %v", c.args, got, theirs)
		}
	}
}

// popularity counts how many blocks were drawn once, twice, …: a picture of the
// law that does not depend on where it put which rank.
func multiplicities(ops []Op, limit int) []uint64 {
	counts := map[int64]int{}
	for _, op := range ops {
		counts[op.Off]++
	}
	out := make([]uint64, limit+1)
	for _, c := range counts {
		out[min(c, limit)]++
	}
	return out
}

// ranked are the counts of the blocks, most popular first.
func ranked(ops []Op, n int) []uint64 {
	counts := make([]uint64, n)
	for _, op := range ops {
		counts[op.Off/(4*kib)]++
	}
	slices.SortFunc(counts, func(a, b uint64) int { return int(int64(b) - int64(a)) })
	return counts
}

// The laws give blocks the popularity that fio gives them.
func TestInteropPopularityIsFios(t *testing.T) {
	const blocks = 16384
	for _, c := range []struct {
		law  string
		dist Distribution
	}{
		{"zipf:1.2", Distribution{Law: Zipf, Param: 1.2}},
		{"zipf:0.5", Distribution{Law: Zipf, Param: 0.5}},
		{"pareto:0.2", Distribution{Law: Pareto, Param: 0.2}},
		{"normal:10", Distribution{Law: Normal, Param: 10}},
		{"normal:70", Distribution{Law: Normal, Param: 70}},
		{"random", Distribution{}},
	} {
		theirs := fioOps(t, "--rw=randread", "--bs=4k", "--size=64m", "--io_size=2g", "--norandommap", "--random_distribution="+c.law)
		got := ours(t, Config{
			Seed: 7, Size: 64 << 20, Pattern: RandRead, Sizes: fixed(4 * kib), NoMap: true,
			Dist: [Dirs]Distribution{c.dist},
		}, len(theirs))
		// The head is compared rank by rank, where ranks are certain; the body by
		// how many blocks were drawn how often.
		if c.dist.Law == Zipf && c.dist.Param > 1 || c.dist.Law == Pareto {
			sameSource(t, c.law+" head", ranked(got, blocks)[:20], ranked(theirs, blocks)[:20])
		}
		sameSource(t, c.law, multiplicities(got, 300), multiplicities(theirs, 300))
	}
}

func TestInteropZonesAreFios(t *testing.T) {
	theirs := fioOps(t, "--rw=randread", "--bs=4k", "--size=64m", "--io_size=1g", "--random_distribution=zoned:60/10:30/20:8/30:2/40")
	got := ours(t, Config{
		Seed: 7, Size: 64 << 20, Pattern: RandRead, Sizes: fixed(4 * kib),
		Dist: [Dirs]Distribution{{Law: Zoned, Zones: []Zone{{60, 10}, {30, 20}, {8, 30}, {2, 40}}}},
	}, len(theirs))
	cells := func(ops []Op) []uint64 {
		c := make([]uint64, 100)
		for _, op := range ops {
			c[op.Off*100/(64<<20)]++
		}
		return c
	}
	// fio cuts zones at other bytes than we round to: the edges are left out.
	a, b := cells(got), cells(theirs)
	for _, edge := range []int{9, 10, 29, 30, 59, 60} {
		a[edge], b[edge] = 0, 0
	}
	sameSource(t, "zoned", a, b)
}

func TestInteropMixAndSizesAreFios(t *testing.T) {
	theirs := fioOps(t, "--rw=randrw", "--rwmixread=70", "--size=1g", "--io_size=4g", "--norandommap",
		"--bssplit=4k/60:8k/30:64k/10,16k/50:32k/")
	got := ours(t, Config{Seed: 7, Size: 1 << 30, Pattern: RandMixed, ReadPercent: 70, NoMap: true, Sizes: [Dirs]Sizes{
		{Split: []Split{{4096, 60}, {8192, 30}, {65536, 10}}}, {Split: []Split{{16384, 50}, {32768, 0}}},
	}}, len(theirs))
	kinds := func(ops []Op) []uint64 {
		c := map[string]uint64{}
		for _, op := range ops {
			c[fmt.Sprint(op.Dir, op.Len)]++
		}
		return []uint64{c["read 4096"], c["read 8192"], c["read 65536"], c["write 16384"], c["write 32768"]}
	}
	sameSource(t, "directions and sizes", kinds(got), kinds(theirs))
}

func TestInteropRangeIsFios(t *testing.T) {
	theirs := fioOps(t, "--rw=randread", "--size=1g", "--io_size=2g", "--norandommap", "--bsrange=4k-40k")
	got := ours(t, Config{
		Seed: 7, Size: 1 << 30, Pattern: RandRead, NoMap: true,
		Sizes: [Dirs]Sizes{{Min: 4 * kib, Max: 40 * kib}},
	}, len(theirs))
	lengths := func(ops []Op) []uint64 {
		c := make([]uint64, 11)
		for _, op := range ops {
			c[op.Len/(4*kib)]++
		}
		return c
	}
	sameSource(t, "range", lengths(got), lengths(theirs))
}

// In one pass with one block size fio, too, visits each block once.
func TestInteropPassIsFios(t *testing.T) {
	args := []string{"--rw=randrw", "--bs=4k", "--size=16m"}
	cfg := Config{Seed: 7, Size: 16 << 20, Pattern: RandMixed, ReadPercent: 50, Sizes: fixed(4 * kib)}
	for name, ops := range map[string][]Op{"fio": fioOps(t, args...), "ours": ours(t, cfg, 4096)} {
		seen := map[int64]bool{}
		for _, op := range ops {
			seen[op.Off] = true
		}
		if len(ops) != 4096 || len(seen) != 4096 {
			t.Errorf("%s: %d requests to %d blocks", name, len(ops), len(seen))
		}
	}
}
