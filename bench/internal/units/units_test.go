package units_test

import (
	"math"
	"testing"

	"github.com/blkbench/blkbench/bench/internal/units"
)

func TestPeople(t *testing.T) {
	for got, want := range map[string]string{
		units.Three(0):            "0",
		units.Three(0.004):        "0",
		units.Three(-0.001):       "0",
		units.Three(1.005):        "1",
		units.Three(9.994):        "9.99",
		units.Three(9.996):        "10",
		units.Three(99.96):        "100",
		units.Three(1234):         "1234",
		units.Three(math.NaN()):   "0",
		units.Three(math.Inf(-1)): "0",
		units.Count(999):          "999",
		units.Count(999.6):        "1 k",
		units.Count(155432):       "155 k",
		units.Count(999999):       "1 M",
		units.Count(1e30):         "1000000000000 E",
		units.Bytes(512):          "512 B",
		units.Bytes(1023):         "1 KiB",
		units.Bytes(4096):         "4 KiB",
		units.Bytes(1 << 40):      "1 TiB",
		units.Rate(637534208):     "608 MiB/s",
		units.Ns(0):               "0 ns",
		units.Ns(18):              "18 ns",
		units.Ns(999.7):           "1 µs",
		units.Ns(81800):           "81.8 µs",
		units.Ns(999600):          "1 ms",
		units.Ns(2.5e9):           "2.5 s",
		units.Ns(5000e9):          "5000 s",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestFio holds what fio 3.33 printed for these numbers.
func TestFio(t *testing.T) {
	for _, c := range []struct {
		n      uint64
		digits int
		binary bool
		unit   string
		want   string
	}{
		{0, 4, true, "B/s", "0B/s"},
		{409600, 4, false, "", "410k"},
		{1677721600, 4, true, "B/s", "1600MiB/s"},
		{1677721600, 4, false, "B/s", "1678MB/s"},
		{8388608, 4, true, "B", "8192KiB"},
		{8388608, 4, false, "B", "8389kB"},
		{51769036800, 4, true, "B", "48.2GiB"},
		{51769036800, 4, false, "B", "51.8GB"},
		{7447804, 4, false, "", "7448k"},
		{30506209074, 4, true, "B/s", "28.4GiB/s"},
		{1350966, 6, false, "", "1351.0k"},
		{270977, 6, false, "", "270977"},
		{1322250240, 4, true, "B", "1261MiB"},
		{math.MaxUint64, 4, true, "B", "16.0EiB"},
		{math.MaxUint64, 1, false, "", "18E"},
	} {
		if got := units.Fio(c.n, c.digits, c.binary, c.unit); got != c.want {
			t.Errorf("%d in %d digits: %q, want %q", c.n, c.digits, got, c.want)
		}
	}
}

func TestSpark(t *testing.T) {
	var b []byte
	for _, f := range []float64{0, 0.001, 0.25, 0.5, 0.75, 1, 2, math.NaN()} {
		b = units.AppendSpark(b, f, 1)
	}
	if string(b) != " ▁▃▅▆██ " {
		t.Errorf("%q", b)
	}
	if got := string(units.AppendSpark(nil, 1, 0)); got != " " {
		t.Errorf("%q", got)
	}
}

func TestNothingAllocates(t *testing.T) {
	b := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() {
		b = units.AppendFio(units.AppendNs(units.AppendRate(units.AppendCount(b[:0], 155432), 6e8), 81800), 1677721600, 4, true, "B/s")
		b = units.AppendSpark(b, 1, 2)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
