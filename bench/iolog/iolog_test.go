package iolog

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const version2 = `fio version 2 iolog
/dev/a add
/dev/b add
/dev/a open
/dev/a wait 500 0
/dev/a read 4096 512

/dev/b write 0 8192
/dev/b datasync 0 0
/dev/a trim 65536 4096
/dev/a sync
/dev/a close
`

func readAll(in io.Reader) (*Reader, []Entry, error) {
	r, err := NewReader(in)
	if err != nil {
		return nil, nil, err
	}
	var all []Entry
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return r, all, nil
		}
		if err != nil {
			return r, all, err
		}
		all = append(all, e)
	}
}

func TestVersion2(t *testing.T) {
	r, all, err := readAll(strings.NewReader(version2))
	if err != nil {
		t.Fatal(err)
	}
	want := []Entry{
		{Action: Add},
		{Action: Add, File: 1},
		{Action: Open},
		{Action: Wait, Off: 500},
		{Action: Read, Off: 4096, Len: 512},
		{Action: Write, File: 1, Len: 8192},
		{Action: DataSync, File: 1},
		{Action: Trim, Off: 65536, Len: 4096},
		{Action: Sync},
		{Action: Close},
	}
	if !slices.Equal(all, want) {
		t.Errorf("got %+v", all)
	}
	if !slices.Equal(r.Files(), []string{"/dev/a", "/dev/b"}) || r.Version() != 2 || r.Line() != 12 {
		t.Errorf("files %q, version %d, line %d", r.Files(), r.Version(), r.Line())
	}
}

func TestBadLinesAreNamed(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", "it is empty"},
		{"\x07\x65\x61\x74\x00\x00", "binary traces of blktrace"},
		{"fio version 1 iolog\n", "it begins with"},
		{"fio version 2 iolog\na read 0 1\n", "line 2: a: the file was not added"},
		{"fio version 2 iolog\na add\na fly 0 1\n", `line 3: unknown action "fly"`},
		{"fio version 2 iolog\na add\na read x 1\n", `line 3: offset "x"`},
		{"fio version 2 iolog\na add\na read 1\n", `line 3: length "": it is missing`},
		{"fio version 2 iolog\na add\na read 1 0\n", "line 3: read of nothing"},
		{"fio version 2 iolog\na add\na read 1 -5\n", `length "-5"`},
		{"fio version 2 iolog\na add\na read 9223372036854775807 2\n", "2 bytes from 9223372036854775807"},
		{"fio version 2 iolog\na add\na read 9223372036854775808 2\n", "value out of range"},
		{"fio version 2 iolog\na add\na read 1 2 3\n", `"3" follows`},
		{"fio version 3 iolog\n5 a add\n4 a open\n", "line 3: time goes back from 5 to 4"},
		{"fio version 3 iolog\n5 a add\n6 a wait 100 0\n", "wait is of version 2"},
		{"fio version 2 iolog\na add 5\n", "add has no offset"},
		{"fio version 2 iolog\n" + strings.Repeat("x", maxLine+1), "line 2 is longer"},
	} {
		_, _, err := readAll(strings.NewReader(c.in))
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.40q: %v, want %q", c.in, err, c.want)
		}
	}
}

func TestReadingAllocatesNothingPerLine(t *testing.T) {
	in := "fio version 3 iolog\n0 /dev/a add\n" + strings.Repeat("7 /dev/a write 4096 8192\n", 100_000)
	r, err := NewReader(strings.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(10_000, func() {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a line", n)
	}
}

func TestWriterRefusesNamesThatCannotBeRead(t *testing.T) {
	w, err := NewWriter(io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "a b", "a\nb"} {
		if _, err := w.Add(0, name); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestInteropFioReadsWhatIsWritten(t *testing.T) {
	fio, err := exec.LookPath("fio")
	if err != nil {
		if os.Getenv("BLKBENCH_REQUIRE_PEERS") == "1" {
			t.Fatal("requires fio")
		}
		t.Skip("requires fio")
	}
	dir := t.TempDir()
	data, trace := filepath.Join(dir, "data"), filepath.Join(dir, "trace")
	if err := os.WriteFile(data, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(trace)
	if err != nil {
		t.Fatal(err)
	}
	w, err := NewWriter(f)
	if err != nil {
		t.Fatal(err)
	}
	n, err := w.Add(0, data)
	if err != nil {
		t.Fatal(err)
	}
	entries := []Entry{{Action: Open, File: n}}
	for i := range int64(10) {
		entries = append(entries, Entry{Action: Read, File: n, At: i * 10, Off: i * 8192, Len: 4096})
	}
	entries = append(entries, Entry{Action: Close, File: n, At: 200})
	for i := range entries {
		if err := w.Write(&entries[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(fio, "--name=r", "--read_iolog="+trace, "--output-format=terse").CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte(";40;")) { // KiB read
		t.Errorf("%v: %s", err, out)
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte(version2))
	f.Add([]byte("fio version 3 iolog\n1 /a add\n2 /a open\n3 /a write 0 4096\n4 /a close\n"))
	f.Add([]byte("fio version 3 iolog\n1 /a add\n99999999999999999999 /a read 1 1"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, all, err := readAll(bytes.NewReader(in))
		if err != nil || r.Version() != 3 {
			return
		}
		// What was read can be written, and comes back the same.
		var out bytes.Buffer
		w, err := NewWriter(&out)
		if err != nil {
			t.Fatal(err)
		}
		for i := range all {
			if all[i].Action == Add {
				name := r.Files()[all[i].File]
				if slices.Contains(w.files, name) {
					w.Write(&all[i])
					continue
				}
				if _, err := w.Add(all[i].At, name); err != nil {
					return
				}
				continue
			}
			if err := w.Write(&all[i]); err != nil {
				t.Fatal(err)
			}
		}
		w.Flush()
		_, again, err := readAll(&out)
		if err != nil || !slices.Equal(all, again) {
			t.Fatalf("%v\n%+v\n%+v\n%s", err, all, again, out.Bytes())
		}
	})
}
