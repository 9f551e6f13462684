package fiojob

import (
	"strings"
	"testing"
	"time"
)

func TestSizes(t *testing.T) {
	tests := []struct {
		in     string
		kbBase int
		want   int64
	}{
		{"0", 1024, 0},
		{"4096", 1024, 4096},
		{"010", 1024, 10},
		{"+7", 1024, 7},
		{"-8k", 1024, -8192},
		{"4096b", 1024, 4096},
		{"4k", 1024, 4096},
		{"4K", 1024, 4096},
		{"4kB", 1024, 4096},
		{"4ki", 1024, 4096},
		{"4KiB", 1024, 4000},
		{"1m", 1024, 1 << 20},
		{"1mib", 1024, 1e6},
		{"2g", 1024, 2 << 30},
		{"1t", 1024, 1 << 40},
		{"1p", 1024, 1 << 50},
		{"1pib", 1024, 1e15},
		{"4k", 1000, 4000},
		{"4kb", 1000, 4000},
		{"4kib", 1000, 4096},
		{"1gib", 1000, 1 << 30},
		{"0x1000", 1024, 4096},
		{"0XfF", 1024, 255},
		{"(4*1024)", 1024, 4096},
		{"(4*1024)k", 1024, 4 << 20},
		{"(1m - 4k)", 1024, 1<<20 - 4096},
		{"(2^10)", 1024, 1024},
		{"(2^3^2)", 1024, 512},
		{"(7 % 4)", 1024, 3},
		{"(-3 + 5)", 1024, 2},
		{"(1.5 * 1024)", 1024, 1536},
		{"(0x10 * 2)", 1024, 32},
		{"(2^-1 * 8)", 1024, 4},
		{"((1+1)k * (2))", 1024, 4096},
	}
	for _, tt := range tests {
		got, err := parseSize(tt.in, tt.kbBase)
		if err != nil || got != tt.want {
			t.Errorf("parseSize(%q, %d) = %d, %v; want %d", tt.in, tt.kbBase, got, err, tt.want)
		}
	}
}

func TestSizesRefused(t *testing.T) {
	tests := map[string]string{
		"":                        "missing",
		"k":                       "missing",
		"4q":                      "unknown suffix",
		"4kk":                     "unknown suffix",
		"1.5g":                    "fractions",
		"4 k":                     "unknown suffix",
		"0x10k":                   "hexadecimal",
		"9223372036854775808":     "too large",
		"9223372036854775807k":    "too large",
		"(":                       "ends early",
		"()":                      "unexpected",
		"(1":                      "closing parenthesis",
		"(1/0)":                   "division by zero",
		"(1%0)":                   "division by zero",
		"(1.5 % 2)":               "fraction",
		"(9223372036854775807+1)": "too large",
		"(2^63)":                  "too large",
		"(1 2)":                   "closing parenthesis",
		"(1x)":                    "unknown suffix",
		"(" + strings.Repeat("(", 100) + "1" + strings.Repeat(")", 101): "nested",
		"(" + strings.Repeat("1+", 600) + "1)":                          "longer",
	}
	for in, want := range tests {
		if got, err := parseSize(in, 1024); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("parseSize(%q) = %d, %v; want an error about %q", in, got, err, want)
		}
	}
}

func TestTimes(t *testing.T) {
	tests := []struct {
		in   string
		unit unit
		want time.Duration
	}{
		{"10", unitSeconds, 10 * time.Second},
		{"10", unitMicros, 10 * time.Microsecond},
		{"10s", unitMicros, 10 * time.Second},
		{"10sec", unitMicros, 10 * time.Second},
		{"5us", unitSeconds, 5 * time.Microsecond},
		{"5USEC", unitSeconds, 5 * time.Microsecond},
		{"100ms", unitSeconds, 100 * time.Millisecond},
		{"100msec", unitSeconds, 100 * time.Millisecond},
		{"2m", unitSeconds, 2 * time.Minute},
		{"1h", unitSeconds, time.Hour},
		{"1D", unitSeconds, 24 * time.Hour},
		{"(10)", unitSeconds, 10 * time.Second},
		{"(10)", unitMicros, 10 * time.Microsecond},
		{"(10s + 5m)", unitSeconds, 310 * time.Second},
		{"(1.5s)", unitMicros, 1500 * time.Millisecond},
		{"(2 * 3)", unitSeconds, 6 * time.Second},
	}
	for _, tt := range tests {
		got, err := parseTime(tt.in, tt.unit)
		if err != nil || got != tt.want {
			t.Errorf("parseTime(%q) = %v, %v; want %v", tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{"", "-1", "10min", "1.5s", "1m30s", "(10)s", "9999999999d"} {
		if got, err := parseTime(in, unitSeconds); err == nil {
			t.Errorf("parseTime(%q) = %v; want an error", in, got)
		}
	}
}

func TestAmounts(t *testing.T) {
	tests := map[string]Amount{
		"20%": {Percent: 20}, "100%": {Percent: 100}, "4z": {Zones: 4}, "1g": {Bytes: 1 << 30}, "(10*2)%": {Percent: 20}, "0": {},
	}
	for in, want := range tests {
		if got, err := parseAmount(in, 1024); err != nil || got != want {
			t.Errorf("parseAmount(%q) = %+v, %v; want %+v", in, got, err, want)
		}
	}
	for _, in := range []string{"101%", "-1%", "%", "z", "5000000000z", "-4k", "1.5%"} {
		if got, err := parseAmount(in, 1024); err == nil {
			t.Errorf("parseAmount(%q) = %+v; want an error", in, got)
		}
	}
}

func TestPatterns(t *testing.T) {
	file := func(name string, limit int) ([]byte, error) {
		return []byte("<" + name + ">")[:min(limit, len(name)+2)], nil
	}
	tests := []struct {
		in      string
		want    string
		offsets []int
	}{
		{`"abcd"`, "abcd", nil},
		{"-1024", "\x00\xfc\xff\xff", nil},
		{"66", "\x42", nil},
		{"0", "\x00", nil},
		{"258", "\x02\x01", nil},
		{"0xFF0X1", "\xff\x01", nil},
		{"0xff0x14", "\xff\x14", nil},
		{"0xdeadface", "\xde\xad\xfa\xce", nil},
		{"0x123", "\x01\x23", nil},
		{"%o", "\x00\x00\x00\x00\x00\x00\x00\x00", []int{0}},
		{`"123"0xFFeeCC`, "123\xff\xee\xcc", nil},
		{`-100xab"1"%o"2"`, "\xf6\xff\xff\xff\xab1\x00\x00\x00\x00\x00\x00\x00\x002", []int{6}},
		{"%o0xdeadbeef%o", strings.Repeat("\x00", 8) + "\xde\xad\xbe\xef" + strings.Repeat("\x00", 8), []int{0, 12}},
		{`'f'"x"`, "<f>x", nil},
	}
	for _, tt := range tests {
		got, err := parsePattern(tt.in, true, file)
		if err != nil || string(got.Bytes) != tt.want || len(got.Offsets) != len(tt.offsets) {
			t.Errorf("parsePattern(%q) = %q %v, %v; want %q %v", tt.in, got.Bytes, got.Offsets, err, tt.want, tt.offsets)
			continue
		}
		for i := range tt.offsets {
			if got.Offsets[i] != tt.offsets[i] {
				t.Errorf("parsePattern(%q): offsets %v, want %v", tt.in, got.Offsets, tt.offsets)
			}
		}
	}
	for _, in := range []string{"", "abc", `"abc`, `""`, "'f", "0x", "%x", "5000000000", "-", `"a"b`} {
		if got, err := parsePattern(in, true, file); err == nil {
			t.Errorf("parsePattern(%q) = %q; want an error", in, got.Bytes)
		}
	}
	if _, err := parsePattern("%o", false, nil); err == nil {
		t.Errorf("buffer_pattern took %%o")
	}
	if _, err := parsePattern("'f'", true, nil); err == nil {
		t.Error("a file was read without a reader")
	}
}

func TestNearest(t *testing.T) {
	tests := map[string]string{"iodpeth": "iodepth", "blocksiz": "blocksize", "rw_mixread": "rwmixread", "zzzzzz": "", "ioengin": "ioengine"}
	for in, want := range tests {
		if got := nearest(in, knownNames()); got != want {
			t.Errorf("nearest(%q) = %q, want %q", in, got, want)
		}
	}
}

// FuzzValues looks for values that crash a parser, or that get past a range.
func FuzzValues(f *testing.F) {
	for _, seed := range []string{"4k", "(2^3*4k)", "1-2", "4k/50:8k/", "zipf:1.2:0.5", "0xff%o\"a\"'f'-12", "20%", "3z", "1:2.5:99", "a\\:b:c", "0,2-5", "wait_before,write:8", "iops:1%", ",8k,"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		for _, o := range Options() {
			v, err := parseValue(o, raw, false, 1024)
			if err != nil {
				continue
			}
			if o.Kind == KindInt || o.Kind == KindSize {
				for dir, n := range v.ints {
					if v.has[dir] && (n < o.Min || n > o.maxInt()) {
						t.Errorf("%s=%s: %d is out of range", o.Name, raw, n)
					}
				}
			}
			if o.set != nil {
				d := draft{Job: defaults, given: map[string]Pos{}}
				if err := o.set(&d, v); err != nil && err.Error() == "" {
					t.Errorf("%s=%s: an error without words", o.Name, raw)
				}
			}
		}
	})
}
