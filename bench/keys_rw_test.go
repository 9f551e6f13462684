package bench

import (
	"bytes"
	"compress/flate"
	"context"
	"math"
	"slices"
	"testing"

	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/internal/fiotest"
	"github.com/blkbench/blkbench/engine"
)

// offsets of the requests of an operation, in order of arrival.
func (o *outcome) offsets(op engine.Op) []int64 {
	var out []int64
	for _, r := range o.rec().of(op) {
		out = append(out, r.off)
	}
	return out
}

func steps(from, n, by int64) []int64 {
	var out []int64
	for i := range n {
		out = append(out, from+i*by)
	}
	return out
}

func TestRWDirections(t *testing.T) {
	for _, c := range []struct {
		rw    string
		op    engine.Op
		order bool
	}{
		{"read", engine.OpRead, true},
		{"write", engine.OpWrite, true},
		{"trim", engine.OpDiscard, true},
		{"randread", engine.OpRead, false},
		{"randwrite", engine.OpWrite, false},
		{"randtrim", engine.OpDiscard, false},
	} {
		o := runArgs(t, nil, job("--rw="+c.rw)...).must(t)
		got := o.offsets(c.op)
		if inOrder := slices.IsSorted(got); len(got) != 256 || len(o.rec().ops) != 256 || inOrder != c.order {
			t.Errorf("%s: %d requests, %d in all, in order %v", c.rw, len(got), len(o.rec().ops), inOrder)
		}
		slices.Sort(got)
		if !slices.Equal(got, steps(0, 256, 4096)) {
			t.Errorf("%s: not every block once", c.rw)
		}
	}
}

func TestTrimWriteTrimsThenWritesEachBlock(t *testing.T) {
	for _, rw := range []string{"trimwrite", "randtrimwrite"} {
		o := runArgs(t, nil, job("--rw="+rw)...).must(t)
		ops := o.rec().ops
		for i := 0; i+1 < len(ops); i += 2 {
			if ops[i].op != engine.OpDiscard || ops[i+1].op != engine.OpWrite || ops[i].off != ops[i+1].off {
				t.Fatalf("%s: requests %d and %d are %v at %d and %v at %d", rw, i, i+1, ops[i].op, ops[i].off, ops[i+1].op, ops[i+1].off)
			}
		}
	}
}

func TestRWMixKeepsItsShares(t *testing.T) {
	fiotest.Long(t)
	for _, c := range []struct {
		args  []string
		reads float64
	}{
		{[]string{"--rw=randrw"}, 0.5}, {[]string{"--rw=rw", "--rwmixread=70"}, 0.7}, {[]string{"--rw=randrw", "--rwmixwrite=90"}, 0.1},
	} {
		o := runArgs(t, nil, job(append(c.args, "--norandommap", "--io_size=40M")...)...).must(t)
		got := float64(o.rec().count(engine.OpRead)) / float64(len(o.rec().ops))
		if math.Abs(got-c.reads) > 0.02 { // four deviations of 10240 draws
			t.Errorf("%v: %.3f reads, want %.2f", c.args, got, c.reads)
		}
	}
}

func TestSequencer(t *testing.T) {
	o := runArgs(t, nil, job("--rw=randread:4", "--size=1M", "--norandommap")...).must(t)
	got := o.offsets(engine.OpRead)
	runs := 0
	for i := 1; i < len(got); i++ {
		if got[i] == got[i-1]+4096 {
			runs++
		}
	}
	if runs < len(got)*5/8 {
		t.Errorf("%d of %d go on in order, want three quarters", runs, len(got))
	}
	o = runArgs(t, nil, job("--rw=randread:4", "--rw_sequencer=identical")...).must(t)
	got = o.offsets(engine.OpRead)
	for i := 0; i+3 < len(got); i += 4 {
		if got[i] != got[i+1] || got[i] != got[i+3] {
			t.Fatalf("requests %d…: %v", i, got[i:i+4])
		}
	}
	o = runArgs(t, nil, job("--rw=read:4k", "--number_ios=3")...).must(t)
	if got = o.offsets(engine.OpRead); !slices.Equal(got, []int64{0, 8192, 16384}) {
		t.Errorf("rw=read:4k reads at %v", got)
	}
}

func TestBlockSizes(t *testing.T) {
	o := runArgs(t, nil, job("--rw=randrw", "--bs=4k,16k")...).must(t)
	for _, r := range o.rec().ops {
		if want := map[engine.Op]int64{engine.OpRead: 4096, engine.OpWrite: 16384}[r.op]; r.n != want {
			t.Fatalf("%v of %d", r.op, r.n)
		}
	}
	sizes := func(args ...string) map[int64]int {
		o := runArgs(t, nil, on("driver=rec,name=a,size=8M", append([]string{"--rw=randread", "--norandommap", "--io_size=32M"}, args...)...)...).must(t)
		m := map[int64]int{}
		for _, r := range o.rec().ops {
			m[r.n]++
		}
		return m
	}
	m := sizes("--bsrange=4k-16k")
	if len(m) != 4 || m[4096] == 0 || m[16384] == 0 {
		t.Errorf("bsrange: %v", m)
	}
	m = sizes("--bsrange=4000-16000", "--bs_unaligned")
	odd := 0
	for n := range m {
		if n%4000 != 0 {
			odd++
		}
	}
	if odd < 100 {
		t.Errorf("bs_unaligned: %d sizes besides the multiples", odd)
	}
	m = sizes("--bssplit=4k/75:64k/25")
	if got := float64(m[4096]) / float64(m[4096]+m[65536]); len(m) != 2 || math.Abs(got-0.75) > 0.03 {
		t.Errorf("bssplit: %v", m)
	}
}

func TestBlockAlign(t *testing.T) {
	o := runArgs(t, nil, job("--rw=randread", "--ba=64k")...).must(t)
	for _, off := range o.offsets(engine.OpRead) {
		if off%65536 != 0 {
			t.Fatalf("a read at %d", off)
		}
	}
}

func TestBlockSizeBySequentialAndRandom(t *testing.T) {
	o := runArgs(t, nil, job("--rw=randread", "--bs=4k,16k", "--bs_is_seq_rand=1", "--percentage_random=50", "--norandommap")...).must(t)
	end := int64(-1)
	seq, random := 0, 0
	for _, r := range o.rec().ops {
		switch {
		case r.off == end && r.n == 4096:
			seq++
		case r.n == 16384:
			random++
		}
		end = r.off + r.n
	}
	if n := len(o.rec().ops); seq+random < n-3 || seq < n/4 || random < n/4 {
		t.Errorf("%d sequential of 4k and %d random of 16k of %d", seq, random, len(o.rec().ops))
	}
}

func TestPercentageRandom(t *testing.T) {
	o := runArgs(t, nil, job("--rw=randread", "--percentage_random=30", "--norandommap", "--io_size=8M")...).must(t)
	got := o.offsets(engine.OpRead)
	on := 0
	for i := 1; i < len(got); i++ {
		if got[i] == got[i-1]+4096 {
			on++
		}
	}
	if share := float64(on) / float64(len(got)); math.Abs(share-0.7) > 0.05 {
		t.Errorf("%.2f go on in order, want 0.70", share)
	}
}

func TestNoRandomMapRepeatsBlocks(t *testing.T) {
	o := runArgs(t, nil, job("--rw=randread", "--norandommap")...).must(t)
	got := o.offsets(engine.OpRead)
	slices.Sort(got)
	if distinct := len(slices.Compact(slices.Clone(got))); len(got) != 256 || distinct > 200 || distinct < 120 {
		t.Errorf("%d distinct of %d, want about 162", distinct, len(got))
	}
}

func TestRandomRepeats(t *testing.T) {
	order := func(args ...string) []int64 {
		return runArgs(t, nil, job(append([]string{"--rw=randread"}, args...)...)...).must(t).offsets(engine.OpRead)
	}
	if !slices.Equal(order(), order()) {
		t.Error("two runs differ")
	}
	if slices.Equal(order("--randrepeat=0"), order("--randrepeat=0")) {
		t.Error("randrepeat=0: two runs are the same")
	}
	if !slices.Equal(order("--randrepeat=0", "--allrandrepeat=1"), order("--randrepeat=0", "--allrandrepeat=1")) {
		t.Error("allrandrepeat=1: two runs differ")
	}
	if slices.Equal(order("--randseed=1"), order("--randseed=2")) || !slices.Equal(order("--randseed=1", "--randrepeat=0"), order("--randseed=1")) {
		t.Error("randseed does not decide")
	}
}

func TestRandomDistributions(t *testing.T) {
	fiotest.Long(t)
	hits := func(dist string) []int {
		o := runArgs(t, nil, job("--rw=randread", "--io_size=16M", "--random_distribution="+dist)...).must(t)
		n := make([]int, 256)
		for _, off := range o.offsets(engine.OpRead) {
			n[off/4096]++
		}
		return n
	}
	top := func(n []int) float64 {
		slices.Sort(n)
		sum, all := 0, 0
		for i, v := range n {
			all += v
			if i >= len(n)-26 {
				sum += v
			}
		}
		return float64(sum) / float64(all)
	}
	if got := top(hits("random")); got > 0.2 {
		t.Errorf("random: the top tenth has %.2f", got)
	}
	if got := top(hits("zipf:1.2")); got < 0.6 {
		t.Errorf("zipf: the top tenth has %.2f", got)
	}
	if got := top(hits("pareto:0.2")); got < 0.5 {
		t.Errorf("pareto: the top tenth has %.2f", got)
	}
	if got := top(hits("normal:10")); got < 0.35 || got > 0.5 { // ±0.57 of a deviation of 8.8 %
		t.Errorf("normal: the top tenth has %.2f", got)
	}
	for _, dist := range []string{"zoned:90/10:10/90", "zoned_abs:90/104k:10/"} {
		n := hits(dist)
		first := 0
		for _, v := range n[:26] {
			first += v
		}
		if share := float64(first) / 4096; math.Abs(share-0.9) > 0.03 {
			t.Errorf("%s: %.2f in the first tenth", dist, share)
		}
	}
}

func TestBuffers(t *testing.T) {
	contents := func(args ...string) [][]byte {
		o := runArgs(t, nil, job(append([]string{"--rw=write", "--number_ios=64"}, args...)...)...).must(t)
		var out [][]byte
		for _, r := range o.rec().of(engine.OpWrite) {
			out = append(out, r.data)
		}
		return out
	}
	distinct := func(bufs [][]byte) int {
		m := map[string]bool{}
		for _, b := range bufs {
			m[string(b)] = true
		}
		return len(m)
	}
	// same counts the bytes that two buffers share, place by place.
	same := func(a, b []byte) int {
		n := 0
		for i := range a {
			if a[i] == b[i] {
				n++
			}
		}
		return n
	}
	if b := contents("--zero_buffers"); distinct(b) != 1 || !bytes.Equal(b[0], make([]byte, 4096)) {
		t.Error("zero_buffers: not zeroes")
	}
	if b := contents("--scramble_buffers=0"); distinct(b) != 1 {
		t.Errorf("scramble_buffers=0: %d different buffers", distinct(b))
	}
	if b := contents(); distinct(b) != 64 || same(b[0], b[1]) < 3500 {
		t.Errorf("scrambled: %d different buffers, %d bytes the same", distinct(b), same(b[0], b[1]))
	}
	if b := contents("--refill_buffers"); distinct(b) != 64 || same(b[0], b[1]) > 100 {
		t.Errorf("refill_buffers: %d different buffers, %d bytes the same", distinct(b), same(b[0], b[1]))
	}
	if b := contents(`--buffer_pattern="abc"`); !bytes.HasPrefix(b[5], []byte("abcabca")) {
		t.Errorf("buffer_pattern: %q", b[5][:8])
	}
	deflated := func(p []byte) float64 {
		var out bytes.Buffer
		w, _ := flate.NewWriter(&out, flate.BestSpeed)
		w.Write(p)
		w.Close()
		return float64(out.Len()) / float64(len(p))
	}
	all := func(bufs [][]byte) []byte { return bytes.Join(bufs, nil) }
	if r := deflated(all(contents("--buffer_compress_percentage=70"))); math.Abs(r-0.3) > 0.05 {
		t.Errorf("buffer_compress_percentage=70: deflates to %.2f", r)
	}
	b := contents("--buffer_compress_percentage=50", "--buffer_compress_chunk=2048")[0]
	if zeroes := bytes.Count(b[1024:2048], []byte{0}); zeroes != 1024 || bytes.Count(b[2048:3072], []byte{0}) > 50 {
		t.Error("buffer_compress_chunk=2048: the zeroes are not in the second half of each chunk")
	}
	if n := distinct(contents("--dedupe_percentage=75", "--number_ios=256")); n < 40 || n > 95 {
		t.Errorf("dedupe_percentage=75: %d of 256 different", n)
	}
}

func TestZonemodeStrided(t *testing.T) {
	o := runArgs(t, nil, job("--rw=read", "--zonemode=strided", "--zonesize=16k", "--zoneskip=48k", "--io_size=48k")...).must(t)
	want := append(append(steps(0, 4, 4096), steps(65536, 4, 4096)...), steps(131072, 4, 4096)...)
	if got := o.offsets(engine.OpRead); !slices.Equal(got, want) {
		t.Errorf("offsets %v", got)
	}
	o = runArgs(t, nil, job("--rw=randread", "--zonemode=strided", "--zonesize=64k", "--zonerange=256k", "--io_size=128k", "--norandommap")...).must(t)
	for i, off := range o.offsets(engine.OpRead) {
		if zone := int64(i / 16); off/(256<<10) != zone {
			t.Fatalf("request %d at %d is not in zone %d", i, off, zone)
		}
	}
}

func TestSyncMakesEachWriteDurable(t *testing.T) {
	for arg, want := range map[string]engine.WriteFlags{"none": 0, "sync": engine.FUA | engine.FlushMetadata, "dsync": engine.FUA} {
		o := runArgs(t, nil, job("--rw=write", "--sync="+arg, "--number_ios=4")...).must(t)
		for _, r := range o.rec().of(engine.OpWrite) {
			if r.flags&(engine.FUA|engine.FlushMetadata) != want {
				t.Errorf("sync=%s: flags %v, want %v", arg, r.flags, want)
			}
		}
	}
}

func TestFsyncAfterSoManyWrites(t *testing.T) {
	fiotest.Long(t)
	for _, c := range []struct {
		arg  string
		want int
	}{{"--fsync=8", 32}, {"--fdatasync=16", 16}, {"--end_fsync=1", 1}, {"--fsync_on_close=1", 1}} {
		o := runArgs(t, nil, job("--rw=write", c.arg)...).must(t)
		if got := o.rec().count(engine.OpFlush); got != c.want {
			t.Errorf("%s: %d flushes, want %d", c.arg, got, c.want)
		}
		if s := o.Jobs[0].Dir[3]; c.arg != "--fsync_on_close=1" && (int(s.IOs) != c.want || s.Lat == nil) {
			t.Errorf("%s: the result has %d syncs", c.arg, s.IOs)
		}
	}
	o := runArgs(t, nil, job("--rw=write", "--fsync=3", "--number_ios=7")...).must(t)
	for i, r := range o.rec().ops {
		if isFlush := r.op == engine.OpFlush; isFlush != (i == 3 || i == 7) {
			t.Errorf("request %d is %v", i, r.op)
		}
	}
}

func TestNumberIOsEndsTheJob(t *testing.T) {
	l := new(leaf)
	runLeaf(t, l, "--rw=randread", "--iodepth=8", "--number_ios=37").must(t)
	if n := l.count(engine.OpRead); n != 37 {
		t.Errorf("%d reads", n)
	}
}

// TestURINamesTheServer opens the server that uri= names, in the place of a file.
func TestURINamesTheServer(t *testing.T) {
	type options struct {
		Host   string `opt:"server.host" help:"server"`
		Type   string `opt:"server.type" help:"kind of address"`
		Port   string `opt:"server.port" help:"its port"`
		Export string `opt:"export" help:"export"`
	}
	l, got := &leaf{size: 1 << 20}, options{}
	reg := engine.NewRegistry(engine.Define(engine.Driver{Name: "nbd", Kind: engine.KindProtocol, Help: "completes at once"},
		func(_ context.Context, _ *engine.OpenRequest, o *options) (engine.Node, error) {
			got = *o
			return l, nil
		}, func(context.Context, *engine.CreateRequest, *engine.NoOptions) error { return nil }))
	plan, err := fiojob.ParseArgs([]string{"--name=j", "--ioengine=nbd", "--uri=nbd://storage:10900/disk", "--rw=read", "--bs=4k", "--size=64k"}, fiojob.SystemEnv())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), Config{Env: &engine.Env{Registry: reg}, Plan: plan, Version: "test"}); err != nil {
		t.Fatal(err)
	}
	if got.Host != "storage" || got.Port != "10900" || got.Export != "disk" || l.count(engine.OpRead) != 16 {
		t.Errorf("opened %+v, %d reads", got, l.count(engine.OpRead))
	}
}
