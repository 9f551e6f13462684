package trace

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"
)

func write(t testing.TB, names []string, list []Entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := NewWriter(&out)
	for i, name := range names {
		if n, err := w.Name(name); err != nil || int(n) != i {
			t.Fatalf("%s is number %d: %v", name, n, err)
		}
	}
	for i := range list {
		w.Add(&list[i])
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func sample(n int) []Entry {
	var list []Entry
	for i := range n {
		list = append(list, Entry{
			Op: Op(i % int(ops)), Flags: uint8(i % 16), Node: uint16(i % 2), Len: uint32(4096 * (i%8 + 1)), Off: int64(i) * 7919 * 512,
			At: int64(i) * 1000, Latency: uint32(i * 3), Errno: uint16(i % 3 * 5),
		})
	}
	return list
}

// TestRoundTrip: what is written is read, names included, in the order of issue.
func TestRoundTrip(t *testing.T) {
	list := sample(50_000)
	shuffled := append([]Entry(nil), list...)
	for i := 0; i+7 < len(shuffled); i += 8 {
		shuffled[i], shuffled[i+7] = shuffled[i+7], shuffled[i]
	}
	b := write(t, []string{"a", "b"}, shuffled)
	got, names, err := Load(bytes.NewReader(b))
	if err != nil || !reflect.DeepEqual(names, []string{"a", "b"}) || !reflect.DeepEqual(got, list) {
		t.Fatalf("%d entries of %v: %v", len(got), names, err)
	}
	if len(b) > len(list)*recordSize {
		t.Errorf("%d entries take %d bytes", len(list), len(b))
	}
	if !IsTrace(b) {
		t.Error("it does not look like a trace")
	}
}

// TestCut: what is before a cut is read, and the cut is said.
func TestCut(t *testing.T) {
	list := sample(200_000)
	b := write(t, []string{"a", "b"}, list)
	got, _, err := Load(bytes.NewReader(b[:len(b)-len(b)/3]))
	if !errors.Is(err, io.ErrUnexpectedEOF) || len(got) == 0 || !reflect.DeepEqual(got, list[:len(got)]) {
		t.Fatalf("%d entries: %v", len(got), err)
	}
	if _, _, err := Load(bytes.NewReader(nil)); !errors.Is(err, ErrFormat) {
		t.Fatal(err)
	}
}

// stuck is an output that does not come back until it is let go.
type stuck struct{ gate chan struct{} }

func (s stuck) Write(p []byte) (int, error) { <-s.gate; return len(p), nil }

// TestLost: an output that does not keep up makes nobody wait, and is told.
func TestLost(t *testing.T) {
	s := stuck{make(chan struct{})}
	w := NewWriter(s)
	if _, err := w.Name("a"); err != nil {
		t.Fatal(err)
	}
	e := Entry{Op: Read, Len: 512}
	for i := range (maxBuffers + 40) * bufferSize / recordSize {
		e.Off = int64(i) * 512
		w.Add(&e)
	}
	close(s.gate)
	if err := w.Close(); err == nil {
		t.Fatal("nothing is said of what is missing")
	}
}

func TestAddAllocatesNothing(t *testing.T) {
	w := NewWriter(io.Discard)
	defer w.Close()
	if _, err := w.Name("a"); err != nil {
		t.Fatal(err)
	}
	e := Entry{Op: Write}
	if n := testing.AllocsPerRun(100, func() { w.Add(&e) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkAdd(b *testing.B) {
	w := NewWriter(io.Discard)
	defer w.Close()
	e := Entry{Op: Write, Len: 4096}
	b.ReportAllocs()
	for b.Loop() {
		e.Off += 4096
		w.Add(&e)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(write(f, []string{"a", "b"}, sample(20)), false)
	var plain []byte
	plain = append(plain, magic...)
	e := Entry{Op: nameOp, Len: 1}
	plain = append(plain, make([]byte, recordSize)...)
	e.put(plain[len(magic):])
	f.Add(append(plain, 'x'), true)
	f.Fuzz(func(t *testing.T, b []byte, compress bool) {
		if compress { // records rather than frames
			var out bytes.Buffer
			w := NewWriter(&out)
			w.cur = append(w.cur[:0], b[:min(len(b), bufferSize)]...)
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			b = out.Bytes()
		}
		list, names, err := Load(bytes.NewReader(b))
		if err != nil && len(list) == 0 {
			return
		}
		again, _, err := Load(bytes.NewReader(write(t, names, list)))
		if err != nil || !reflect.DeepEqual(again, list) {
			t.Fatalf("read again: %d of %d entries, %v", len(again), len(list), err)
		}
	})
}
