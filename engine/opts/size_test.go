package opts

import (
	"math"
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{
		"0": 0, "512": 512, "64k": 64 << 10, "64K": 64 << 10, "1M": 1 << 20, "1.5G": 3 << 29, "1T": 1 << 40, "2P": 2 << 50,
		"7E": 7 << 60, "7.999E": 9222219115350168961, "1b": 1, "1B": 1, "0x10": 16, "0XfF": 255, "1.k": 1024, "1.0": 1,
		"1.50k": 1536, "0.1k": 102, "0.3k": 307, "1.000000001G": 1<<30 + 1, "07": 7, "+5": 5,
		"9223372036854775807": math.MaxInt64, "0x7fffffffffffffff": math.MaxInt64, "7.99999999999999999999E": math.MaxInt64,
		"3.999999999999999999k": 4095, "0.0000000001k": 0,
		// The hexadecimal digits B and E are no suffixes.
		"0x1b": 27, "0x1E": 30,
	} {
		if got, err := ParseSize(s); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", s, got, err, want)
		}
	}
	if got, err := ParseSize(" 5"); err != nil || got != 5 {
		t.Errorf("leading space: %d, %v", got, err)
	}
	for _, s := range []string{
		"", " ", "-1", "-0", "1.5", "0.5b", ".5k", "k", "1kb", "1KiB", "1 k", "5 ", "1e3", "1e3k", "0x", "0x10k", "0x1.8", "1..5k",
		"1,5", "1_000", "inf", "nan", "8E", "16E", "9223372036854775808", "0x8000000000000000", "18446744073709551616", "8388608T",
		"1\x00", "１", "99999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999",
	} {
		if got, err := ParseSize(s); err == nil {
			t.Errorf("%q: accepted as %d", s, got)
		}
	}
}

func TestFormatSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0", 511: "511", 512: "512", 1024: "1k", 1280: "1.25k", 1536: "1.5k", 1537: "1537", 64 << 10: "64k", 3 << 29: "1.5G",
		1 << 60: "1E", math.MaxInt64: "9223372036854775807", 7<<60 + 3<<58: "7.75E", -5: "-5", 1<<30 + 1<<10: "1048577k",
	} {
		got := FormatSize(n)
		if got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
		if back, err := ParseSize(got); n >= 0 && (err != nil || back != n) {
			t.Errorf("%s is read back as %d, %v", got, back, err)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for _, c := range []struct {
		s    string
		unit time.Duration
		want time.Duration
	}{
		{"10", time.Second, 10 * time.Second},
		{"10", time.Nanosecond, 10},
		{"1.5", time.Millisecond, 1500 * time.Microsecond},
		{".5", time.Second, time.Second / 2},
		{"500us", time.Second, 500 * time.Microsecond},
		{"1h30m", time.Millisecond, 90 * time.Minute},
		{"2d", time.Millisecond, 48 * time.Hour},
		{"0.5d", time.Millisecond, 12 * time.Hour},
		{"9223372036854775807", time.Nanosecond, math.MaxInt64},
		{"9223372036", time.Second, 9223372036 * time.Second},
	} {
		if got, err := ParseDuration(c.s, c.unit); err != nil || got != c.want {
			t.Errorf("%q: %v, %v, want %v", c.s, got, err, c.want)
		}
	}
	for _, s := range []string{"", "-1", "-1s", "+1s", "1x", "s", ".", "1.2.3", "1h2d", "d", "inf", "nan", "0x10", "1e3", "9223372037", "106752d", "1 s"} {
		if got, err := ParseDuration(s, time.Second); err == nil {
			t.Errorf("%q: accepted as %v", s, got)
		}
	}
}

func TestParseBool(t *testing.T) {
	for s, want := range map[string]bool{"on": true, "yes": true, "true": true, "y": true, "off": false, "no": false, "false": false, "n": false} {
		if got, err := ParseBool(s); err != nil || got != want {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "ON", "1", "0", "auto", "enable"} {
		if _, err := ParseBool(s); err == nil {
			t.Errorf("%q: accepted", s)
		}
	}
	if s, err := ParseTristate("auto"); err != nil || s != Auto || s.Or(true) != true || On.Or(false) != true || Off.Or(true) != false {
		t.Errorf("auto: %v, %v", s, err)
	}
	if _, err := ParseTristate("later"); err == nil || err.Error() != "value later: want on, off or auto" {
		t.Error(err)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"cluster_size", "preallocation", "lazy_refcounts", "size", "backing_file", "file"}
	for name, want := range map[string]string{
		"clustersize": "cluster_size", "cluster-size": "cluster_size", "CLUSTER_SIZE": "cluster_size", "cluster_sise": "cluster_size",
		"prealloc": "preallocation", "szie": "size", "refcounts": "lazy_refcounts", "backing": "backing_file", "fiel": "file",
		"encryption": "", "": "", "x": "",
	} {
		if got := Nearest(name, known); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
