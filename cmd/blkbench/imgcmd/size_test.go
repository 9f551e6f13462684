package imgcmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseSize(t *testing.T) {
	for _, c := range []struct {
		text string
		want uint64
		err  error
	}{
		{"0", 0, nil},
		{"1", 1, nil},
		{"1b", 1, nil},
		{"1B", 1, nil},
		{"1k", 1024, nil},
		{"1K", 1024, nil},
		{"1.5k", 1536, nil},
		{"1.k", 1024, nil},
		{"16M", 16 << 20, nil},
		{"3T", 3 << 40, nil},
		{"15E", 15 << 60, nil},
		{"16E", 0, errSizeRange},
		{"0x10", 16, nil},
		{"0x10k", 16 << 10, nil},
		{"0x1b", 27, nil},
		{"18446744073709551615", 1<<64 - 1, nil},
		{"18446744073709551616", 0, errSizeRange},
		{" 1", 1, nil},
		{"+1", 1, nil},
		{"-1", 0, errSizeSyntax},
		{"", 0, errSizeSyntax},
		{"k", 0, errSizeSyntax},
		{"1x", 0, errSizeSyntax},
		{"1kk", 0, errSizeSyntax},
		{"1.5", 0, errSizeSyntax},
		{"1.5b", 0, errSizeSyntax},
		{"1.0", 1, nil},
		{"1e3", 0, errSizeSyntax},
		{"1e", 1 << 60, nil},
		{"0x1.8k", 0, errSizeSyntax},
		{".5k", 0, errSizeSyntax},
		{"1.0001k", 1024, nil},
		{"1.0006k", 1025, nil},
		{"010", 10, nil},
		{"1 k", 0, errSizeSyntax},
	} {
		got, _, err := parseSize(c.text)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%q is %d, %v; want %d, %v", c.text, got, err, c.want, c.err)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"1", "1.5k", "0x10M", "16E", "-1", "1e3", " +7.25G", "99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, _, err := parseSize(s)
		if err != nil {
			return
		}
		// A plain number means itself.
		if v, ok := new(big.Int).SetString(s, 10); ok && strings.Trim(s, "0123456789") == "" && v.Uint64() != n {
			t.Errorf("%q is %d", s, n)
		}
	})
}

func FuzzParseSettings(f *testing.F) {
	for _, s := range []string{"a=1,b=2", "a", "noa,b", "a=1,,2,b=", "help", "a=b=c", "=,=", "encrypt.format=luks"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := parseSettings([]string{s})
		if err != nil {
			return
		}
		// What it means can be written again, and means the same.
		var parts []string
		for _, x := range list {
			if x.key == "" {
				return
			}
			parts = append(parts, x.key+"="+strings.ReplaceAll(x.value, ",", ",,"))
		}
		again, err := parseSettings([]string{strings.Join(parts, ",")})
		if err != nil || len(again) != len(list) {
			t.Fatalf("%q: %v, and again %v, %v", s, list, again, err)
		}
		for i := range list {
			if list[i] != again[i] {
				t.Errorf("%q: %v, and again %v", s, list[i], again[i])
			}
		}
		hasHelp([]string{s})
	})
}

func FuzzJSONText(f *testing.F) {
	for _, s := range []string{"", "a\"b\\c", "\x00\n\t", "grün", "😀", "\xff\xfe"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var out bytes.Buffer
		if err := writeJSON(&out, object{"name": s, "list": []any{s, true, 1}}); err != nil {
			t.Fatal(err)
		}
		var back struct{ Name string }
		if err := json.Unmarshal(out.Bytes(), &back); err != nil {
			t.Fatalf("%q: %v in %s", s, err, out.Bytes())
		}
		if utf8.ValidString(s) && back.Name != s {
			t.Errorf("%q became %q", s, back.Name)
		}
		if i := bytes.IndexFunc(out.Bytes(), func(r rune) bool { return r > 0x7e }); i >= 0 {
			t.Errorf("%q: not ASCII: %q", s, out.Bytes())
		}
	})
}

func TestHumanSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1: "1 B", 999: "999 B", 1000: "0.977 KiB", 1024: "1 KiB", 1536: "1.5 KiB", 200704: "196 KiB", 1 << 20: "1 MiB", 10 << 30: "10 GiB",
		1023 << 10: "0.999 MiB", 1 << 62: "4 EiB",
	} {
		if got := humanSize(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}
