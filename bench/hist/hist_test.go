package hist

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Every bucket contains the values that map to it, they follow each other
// without gaps, and none is wider than 1/64 of its lowest value.
func TestBucketsTileTheRange(t *testing.T) {
	next := uint64(0)
	for i := range uint(Buckets) {
		low, width := bounds(i)
		if low != next {
			t.Fatalf("bucket %d begins at %d, the one before ends at %d", i, low, next)
		}
		next = low + width
		for _, v := range []uint64{low, low + width/2, low + width - 1} {
			if got := bucket(v); got != i {
				t.Fatalf("value %d is in bucket %d, want %d", v, got, i)
			}
		}
		if width > 1 && width*64 > low {
			t.Fatalf("bucket %d at %d is %d wide", i, low, width)
		}
	}
	if next != 1<<45 {
		t.Fatalf("range ends at %d", next)
	}
	for _, v := range []uint64{1 << 45, 1 << 60, math.MaxUint64} {
		if bucket(v) != Buckets-1 {
			t.Errorf("value %d is not in the last bucket", v)
		}
	}
}

// samples are shapes that break naive sums: huge offset with small spread, a
// long tail, constants, and the smallest values.
func samples() map[string][]uint64 {
	r := rand.New(rand.NewPCG(1, 2))
	m := map[string][]uint64{"one": {42}, "constant": {7, 7, 7, 7}, "zero": {0, 0, 1}}
	for range 50_000 {
		m["even"] = append(m["even"], 1<<40+r.Uint64N(100))
		m["exponential"] = append(m["exponential"], uint64(r.ExpFloat64()*80_000))
		m["lognormal"] = append(m["lognormal"], uint64(math.Exp(r.NormFloat64()*1.5+11)))
		m["tiny"] = append(m["tiny"], r.Uint64N(130))
	}
	return m
}

func fill(values []uint64) *Hist {
	h := new(Hist)
	for _, v := range values {
		h.Record(v)
	}
	return h
}

func TestMomentsAreExact(t *testing.T) {
	for name, values := range samples() {
		h := fill(values)
		n := float64(len(values))
		mean := 0.0
		for _, v := range values {
			mean += float64(v) / n
		}
		ss := 0.0
		for _, v := range values {
			ss += (float64(v) - mean) * (float64(v) - mean)
		}
		stddev := 0.0
		if n > 1 {
			stddev = math.Sqrt(ss / (n - 1))
		}
		if h.Count() != uint64(n) || h.Min() != slices.Min(values) || h.Max() != slices.Max(values) {
			t.Errorf("%s: count %d min %d max %d", name, h.Count(), h.Min(), h.Max())
		}
		if math.Abs(h.Mean()-mean) > 1e-9*mean {
			t.Errorf("%s: mean %v, want %v", name, h.Mean(), mean)
		}
		if math.Abs(h.Stddev()-stddev) > 1e-6*stddev {
			t.Errorf("%s: stddev %v, want %v", name, h.Stddev(), stddev)
		}
	}
}

var percents = []float64{0.1, 1, 5, 25, 50, 75, 90, 95, 99, 99.9, 99.99, 100}

func TestPercentilesAreWithinTheStatedError(t *testing.T) {
	for name, values := range samples() {
		h := fill(values)
		sorted := slices.Sorted(slices.Values(values))
		got := make([]uint64, len(percents))
		h.Percentiles(percents, got)
		for i, p := range percents {
			rank := max(1, int(math.Ceil(p/100*float64(len(sorted)))))
			want := sorted[min(rank, len(sorted))-1]
			if d := math.Abs(float64(got[i]) - float64(want)); d > MaxError*float64(want) {
				t.Errorf("%s: p%v = %d, want %d", name, p, got[i], want)
			}
			if one := h.Percentile(p); one != got[i] {
				t.Errorf("%s: p%v alone is %d, among others %d", name, p, one, got[i])
			}
		}
	}
}

func TestFractionBelowInvertsPercentile(t *testing.T) {
	h := fill(samples()["lognormal"])
	for _, p := range []float64{1, 10, 50, 90, 99} {
		if f := 100 * h.FractionBelow(h.Percentile(p)); math.Abs(f-p) > 1.5 {
			t.Errorf("p%v: %v %% of the values are at most that", p, f)
		}
	}
	if h.FractionBelow(h.Max()) != 1 || h.FractionBelow(0) != 0 || new(Hist).FractionBelow(5) != 0 {
		t.Error("edges of the distribution")
	}
}

// Splitting samples over threads and merging gives the histogram of all.
func TestMergeIsAddition(t *testing.T) {
	values := samples()["exponential"]
	whole := fill(values)
	var parts [3]Hist
	for i, v := range values {
		parts[i%3].Record(v)
	}
	var sum Hist
	for i := range parts {
		sum.Merge(&parts[i])
	}
	if sum != *whole {
		t.Error("merged parts differ from the whole")
	}
	sum.Reset()
	if sum != (Hist{}) {
		t.Error("reset left something")
	}
}

func TestDeltaIsWhatCameLater(t *testing.T) {
	values := samples()["lognormal"]
	h := fill(values[:20_000])
	older := *h
	for _, v := range values[20_000:] {
		h.Record(v)
	}
	d := h.Delta(&older)
	want := fill(values[20_000:])
	if d.counts != want.counts || d.n != want.n || d.sum != want.sum || d.Stddev() != want.Stddev() {
		t.Error("delta differs from a histogram of the later values")
	}
	within := func(got, exact uint64) bool {
		return math.Abs(float64(got)-float64(exact)) <= 2*MaxError*float64(exact)
	}
	if !within(d.Min(), want.Min()) || !within(d.Max(), want.Max()) {
		t.Errorf("extremes %d %d, want about %d %d", d.Min(), d.Max(), want.Min(), want.Max())
	}
	if none := h.Delta(h); none != (Hist{}) {
		t.Error("delta to itself is not empty")
	}
}

func TestEmptyHistogramAnswersZero(t *testing.T) {
	var h Hist
	if h.Min() != 0 || h.Max() != 0 || h.Mean() != 0 || h.Stddev() != 0 || h.Percentile(99) != 0 {
		t.Error("an empty histogram has values")
	}
	for b := range h.All() {
		t.Errorf("bucket %v", b)
	}
}

func TestAllCoversEveryValue(t *testing.T) {
	values := samples()["exponential"]
	h := fill(values)
	total, last := uint64(0), uint64(0)
	for b := range h.All() {
		if b.Low < last {
			t.Fatalf("bucket at %d after one that ends at %d", b.Low, last)
		}
		last = b.Low + b.Width
		total += b.Count
	}
	if total != h.Count() {
		t.Errorf("buckets hold %d of %d", total, h.Count())
	}
}

func TestFioPlatKeepsTheTotal(t *testing.T) {
	h := fill(append(samples()["lognormal"], 1<<44, 1<<36, math.MaxUint64))
	for coarseness := range 7 {
		bins := h.FioPlat(nil, coarseness)
		if len(bins) != FioBuckets>>coarseness {
			t.Fatalf("coarseness %d: %d bins", coarseness, len(bins))
		}
		total := uint64(0)
		for _, c := range bins {
			total += c
		}
		if total != h.Count() {
			t.Errorf("coarseness %d: %d values of %d", coarseness, total, h.Count())
		}
		if bins[len(bins)-1] < 3 {
			t.Errorf("coarseness %d: what is beyond the range is not in the last bin", coarseness)
		}
	}
	total := uint64(0)
	for _, c := range h.FioBins() {
		total += c
	}
	if total != h.Count() {
		t.Errorf("json bins hold %d of %d", total, h.Count())
	}
}

func TestHDRDecodesToTheSamePercentiles(t *testing.T) {
	h := fill(samples()["lognormal"])
	s, err := h.HDR()
	if err != nil {
		t.Fatal(err)
	}
	back, err := hdrhistogram.Decode([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	if back.TotalCount() != int64(h.Count()) {
		t.Errorf("%d values, want %d", back.TotalCount(), h.Count())
	}
	for _, p := range []float64{1, 50, 99, 99.99} {
		got, want := float64(back.ValueAtPercentile(p)), float64(h.Percentile(p))
		if math.Abs(got-want) > 0.002*want {
			t.Errorf("p%v = %v, want %v", p, got, want)
		}
	}
	if _, err := new(Hist).HDR(); err != nil {
		t.Errorf("empty: %v", err)
	}
}

func TestRecordNIsRecordRepeated(t *testing.T) {
	var one, many Hist
	for i, v := range []uint64{0, 1, 127, 128, 12345, 1 << 40, math.MaxUint64} {
		for range i {
			one.Record(v)
		}
		many.RecordN(v, uint64(i))
	}
	if one != many {
		t.Errorf("n %d %d, sum %d %d, squares %x:%x %x:%x, extremes %d…%d %d…%d", one.n, many.n, one.sum, many.sum,
			one.sqHi, one.sqLo, many.sqHi, many.sqLo, one.Min(), one.Max(), many.Min(), many.Max())
	}
}

func TestRecordAllIsRecordRepeated(t *testing.T) {
	for name, values := range samples() {
		one := fill(values)
		var all Hist
		for i := 0; i < len(values); i += 7 {
			all.RecordAll(values[i:min(i+7, len(values))])
		}
		if *one != all {
			t.Errorf("%s: n %d %d, sum %d %d, extremes %d…%d %d…%d", name, one.n, all.n, one.sum, all.sum, one.Min(), one.Max(), all.Min(), all.Max())
		}
	}
}

func TestRecordDoesNotAllocate(t *testing.T) {
	var h Hist
	if n := testing.AllocsPerRun(1000, func() { h.Record(12345) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A writer hands over at its own pace, a reader takes when it likes: nothing is
// lost, nothing is counted twice, and the race detector agrees.
func TestHandoverLosesNothing(t *testing.T) {
	var ho Handover[Hist]
	ho.Give(new(Hist))
	const values = 200_000
	done := make(chan *Hist)
	go func() {
		cur := new(Hist)
		for i := range uint64(values) {
			cur.Record(i)
			if ho.Wanted() || i%1000 == 0 {
				cur, _ = ho.Offer(cur)
			}
		}
		done <- cur
	}()
	var total Hist
	take := func() {
		if v := ho.Take(); v != nil {
			total.Merge(v)
			v.Reset()
			ho.Give(v)
		}
	}
	for {
		select {
		case last := <-done:
			take()
			total.Merge(last)
			var want Hist
			for i := range uint64(values) {
				want.Record(i)
			}
			if total != want {
				t.Errorf("%d values arrived, want %d", total.Count(), want.Count())
			}
			return
		default:
			ho.Ask()
			take()
		}
	}
}

func TestOfferWithoutSpareGoesOn(t *testing.T) {
	var ho Handover[Hist]
	a := new(Hist)
	if next, handed := ho.Offer(a); handed || next != a {
		t.Error("a value was handed over with nothing to go on with")
	}
	b := new(Hist)
	ho.Give(b)
	ho.Ask()
	next, handed := ho.Offer(a)
	if !handed || next != b || ho.Wanted() {
		t.Error("hand-over with a spare value")
	}
	if _, again := ho.Offer(b); again {
		t.Error("handed over twice with one spare value")
	}
	if ho.Take() != a || ho.Take() != nil {
		t.Error("the reader does not get the value once")
	}
}

func BenchmarkRecord(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	var values [4096]uint64
	for i := range values {
		values[i] = uint64(math.Exp(r.NormFloat64()*0.5 + 11))
	}
	var h Hist
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		h.Record(values[i&4095])
		i++
	}
}

func BenchmarkMerge(b *testing.B) {
	var h, o Hist
	for b.Loop() {
		h.Merge(&o)
	}
}

func BenchmarkPercentiles(b *testing.B) {
	h := fill(samples()["lognormal"])
	out := make([]uint64, len(percents))
	for b.Loop() {
		h.Percentiles(percents, out)
	}
}
