package live_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/bench/internal/fiotest"
	"github.com/blkbench/blkbench/bench/live"
	"github.com/blkbench/blkbench/bench/result"
)

func state(i int) *result.Live {
	return &result.Live{
		Elapsed: time.Duration(i) * time.Second, Left: time.Duration(60-i) * time.Second, Done: float64(i) / 60, Running: 2, Jobs: 4, State: "running",
		OpenDepth: 64, Letters: "rrw_", Files: 3,
		Dir: [3]result.LiveDir{{IOPS: 155432 + float64(i%7)*1000, BW: 636649472, P50: 81800, P99: 714000}, {IOPS: 68100, BW: 278937600, P50: 129000, P99: 1060000}},
	}
}

// pty is a real terminal: what a display writes to the one end comes out of the other.
func pty(t *testing.T, columns int) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("requires a pseudo terminal: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	resize(t, master, columns)
	return master, slave
}

func resize(t *testing.T, master *os.File, columns int) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: uint16(columns)}); err != nil {
		t.Fatal(err)
	}
}

// written is all that was written to the terminal so far.
func written(t *testing.T, master, slave *os.File) string {
	t.Helper()
	const end = "<end>"
	if _, err := slave.WriteString(end); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	buf := make([]byte, 4096)
	for !bytes.Contains(b.Bytes(), []byte(end)) {
		n, err := master.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(buf[:n])
	}
	return strings.TrimSuffix(b.String(), end)
}

func TestTerminalIsLeftAsItWas(t *testing.T) {
	master, slave := pty(t, 120)
	before, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	ch := make(chan result.Live, 8)
	d := live.New(slave, live.Options{Colour: true})
	for i := range 8 {
		ch <- *state(i)
	}
	close(ch)
	d.Run(t.Context(), ch)
	d.Show(state(9)) // after the end: nothing
	after, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	if *before != *after {
		t.Errorf("modes changed: %+v, were %+v", after, before)
	}
	out := written(t, master, slave)
	if !strings.Contains(out, "155 k IOPS") || !strings.Contains(out, "p99 714 µs") {
		t.Errorf("%q", out)
	}
	// Only colours, cursor up, and clearing to the end of a line or of the screen: nothing that would have to be undone.
	for _, seq := range regexp.MustCompile(`\x1b[^A-Za-z]*[A-Za-z]`).FindAllString(out, -1) {
		if !regexp.MustCompile(`^\x1b\[([0-9;]*m|[0-9]+A|K|J)$`).MatchString(seq) {
			t.Errorf("sequence %q", seq)
		}
	}
	if !strings.HasSuffix(out, "\x1b[J") {
		t.Errorf("the end does not clear the display: %q", out[max(0, len(out)-40):])
	}
	if on, off := len(regexp.MustCompile(`\x1b\[[1-9]\d*m`).FindAllString(out, -1)), strings.Count(out, "\x1b[0m"); on == 0 || on != off {
		t.Errorf("%d colours begin and %d end: %q", on, off, out)
	}
}

func TestQuietWithoutTerminal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, o := range []live.Options{{}, {When: live.Never}} {
		d := live.New(w, o)
		d.Show(state(1))
		called := false
		d.Above(func() { called = true })
		d.Close()
		if !called {
			t.Error("Above did not call")
		}
	}
	master, slave := pty(t, 80)
	d := live.New(slave, live.Options{When: live.Never})
	d.Show(state(1))
	d.Close()
	if out := written(t, master, slave); out != "" {
		t.Errorf("never: %q", out)
	}
	w.Close()
	if out, err := io.ReadAll(r); err != nil || len(out) > 0 {
		t.Errorf("%q, %v", out, err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var b bytes.Buffer
	done := make(chan struct{})
	ch := make(chan result.Live)
	go func() {
		defer close(done)
		live.New(&b, live.Options{When: live.Always}).Run(ctx, ch)
	}()
	ch <- *state(1)
	cancel()
	<-done
	if !strings.HasSuffix(b.String(), "\r\n") {
		t.Errorf("%q", b.String())
	}
}

// statusForm is the form of fio's status line.
var statusForm = regexp.MustCompile(`^Jobs: \d+ \(f=\d+\): \[([A-Za-z_/]\(\d+\))(,[A-Za-z_/]\(\d+\))*\]\[(\d+\.\d|-\.-)%\](\[[rwt]=\d+(\.\d+)?[KMG]?i?B/s(,[rwt]=\d+(\.\d+)?[KMG]?i?B/s)*\]\[[rwt]=\d+(\.\d+)?[kM]?(,[rwt]=\d+(\.\d+)?[kM]?)* IOPS\])?\[eta (\d\dd:)?(\d\dh:)?\d\dm:\d\ds\]$`)

func TestStatusLine(t *testing.T) {
	var b bytes.Buffer
	d := live.New(&b, live.Options{When: live.Always, Newline: 2 * time.Second})
	for i := range 4 {
		d.Show(state(i * 20))
	}
	idle := &result.Live{Running: 1, Done: -1, Left: 26 * time.Hour, State: "ramp"}
	d.Show(idle)
	d.Show(&result.Live{})
	d.Close()
	var got []string
	for _, l := range strings.FieldsFunc(b.String(), func(r rune) bool { return r == '\r' || r == '\n' }) {
		got = append(got, strings.TrimRight(l, " "))
	}
	want := []string{
		"Jobs: 2 (f=3): [r(2),w(1),_(1)][0.0%][r=607MiB/s,w=266MiB/s][r=155k,w=68.1k IOPS][eta 01m:00s]",
		"Jobs: 2 (f=3): [r(2),w(1),_(1)][33.3%][r=607MiB/s,w=266MiB/s][r=161k,w=68.1k IOPS][eta 00m:40s]",
		"Jobs: 2 (f=3): [r(2),w(1),_(1)][66.7%][r=607MiB/s,w=266MiB/s][r=160k,w=68.1k IOPS][eta 00m:20s]",
		"Jobs: 2 (f=3): [r(2),w(1),_(1)][100.0%][r=607MiB/s,w=266MiB/s][r=159k,w=68.1k IOPS][eta 00m:00s]",
		"Jobs: 1 (f=0): [/(1)][-.-%][eta 01d:02h:00m:00s]",
		"Jobs: 0 (f=0)",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
	for _, l := range want[:5] {
		if !statusForm.MatchString(l) {
			t.Errorf("not of fio's form: %s", l)
		}
	}
	if n := strings.Count(b.String(), "\n"); n != 4 {
		t.Errorf("%d lines: %q", n, b.String())
	}
}

// TestInteropStatusForm checks the form that the tests above rely on against the real fio.
func TestInteropStatusForm(t *testing.T) {
	fiotest.Long(t)
	t.Parallel()
	fio, err := exec.LookPath("fio")
	if err != nil {
		missing(t, "fio")
	}
	out, err := exec.CommandContext(t.Context(), fio, "--name=x", "--ioengine=null", "--size=1g", "--rw=randrw", "--time_based", "--runtime=5", "--eta=always", "--eta-interval=500ms").Output()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, l := range strings.FieldsFunc(string(out), func(r rune) bool { return r == '\r' || r == '\n' }) {
		if l = strings.TrimRight(l, " "); strings.HasPrefix(l, "Jobs: ") && strings.Contains(l, "eta") {
			n++
			if !statusForm.MatchString(l) {
				t.Errorf("%s", l)
			}
		}
	}
	if n == 0 {
		t.Errorf("fio printed no status:\n%s", out)
	}
}

func missing(t *testing.T, peer string) {
	t.Helper()
	if os.Getenv("BLKBENCH_REQUIRE_PEERS") == "1" {
		t.Fatalf("requires %s", peer)
	}
	t.Skipf("requires %s", peer)
}

func TestState(t *testing.T) {
	var b bytes.Buffer
	if err := live.State(&b, state(15)); err != nil {
		t.Fatal(err)
	}
	want := `running · 2 of 4 jobs · 64 in flight  ━━━━━─────────────── 25 %  0:45 left, 0:15 so far
read  156 k IOPS   607 MiB/s     p50 81.8 µs   p99 714 µs
write 68.1 k IOPS  266 MiB/s     p50 129 µs    p99 1.06 ms
`
	if b.String() != want {
		t.Errorf("\n got %s\nwant %s", b.String(), want)
	}
	b.Reset()
	if err := live.State(&b, &result.Live{State: "preparing", Left: -1, Done: -1, Elapsed: 3700 * time.Second}); err != nil || b.String() != "preparing  1:01:40 so far\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
}

func TestParseWhen(t *testing.T) {
	for s, want := range map[string]live.When{"": live.Auto, "auto": live.Auto, "always": live.Always, "never": live.Never} {
		if got, err := live.ParseWhen(s); got != want || err != nil {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	if _, err := live.ParseWhen("sometimes"); !errors.Is(err, live.ErrWhen) {
		t.Errorf("%v", err)
	}
}

// discard is a writer that is no terminal and keeps nothing.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func TestFramesDoNotAllocate(t *testing.T) {
	_, slave := pty(t, 120)
	null, err := os.OpenFile("/dev/null", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	l := state(7)
	screen := live.New(slave, live.Options{Colour: true})
	redirect(t, slave, null) // it is a terminal to the display; what it writes goes nowhere, or a full buffer would stop it
	for name, d := range map[string]*live.Display{"screen": screen, "line": live.New(discard{}, live.Options{When: live.Always})} {
		if n := testing.AllocsPerRun(200, func() {
			l.Elapsed += time.Second
			l.Dir[0].IOPS += 1234
			d.Show(l)
		}); n != 0 {
			t.Errorf("%s: %v allocations a frame", name, n)
		}
		d.Close()
	}
}

// redirect makes the descriptor of f that of to.
func redirect(t *testing.T, f, to *os.File) {
	t.Helper()
	if err := unix.Dup3(int(to.Fd()), int(f.Fd()), unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
}

// TestInteropTmux draws on a real terminal emulator and reads its screen: a display in place, a message above it, and nothing left at the end.
func TestInteropTmux(t *testing.T) {
	if script := os.Getenv("BLKBENCH_LIVE_SCRIPT"); script != "" {
		inTmux(t, script)
		return
	}
	tmux, err := exec.LookPath("tmux")
	if err != nil {
		missing(t, "tmux")
	}
	socket := filepath.Join(t.TempDir(), "tmux")
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), tmux, append([]string{"-S", socket, "-f", "/dev/null"}, args...)...)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TMUX=")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("tmux %v: %v: %s", args, err, out)
		}
		return string(out)
	}
	script := tmux + " -S " + socket + " wait-for"
	run("new-session", "-d", "-x", "100", "-y", "20", "env", "BLKBENCH_LIVE_SCRIPT="+script, os.Args[0], "-test.run=^TestInteropTmux$", "-test.v=false")
	defer func() { _ = exec.CommandContext(context.Background(), tmux, "-S", socket, "kill-server").Run() }()
	screen := func() string {
		run("wait-for", "drawn")
		s := run("capture-pane", "-p")
		run("wait-for", "-S", "seen")
		return s
	}
	first := screen()
	if strings.Count(first, "IOPS") != 2 || !strings.Contains(first, "running · 2 of 4 jobs · 64 in flight  ━━━━━━━━━━━━━━━━━━━━") || !strings.Contains(first, "50 %  0:30 left") {
		t.Errorf("after thirty frames:\n%s", first)
	}
	if !regexp.MustCompile(`(?m)^read  157 k IOPS   607 MiB/s     p50 81.8 µs   p99 714 µs    [▁▂▃▄▅▆▇█]{30}`).MatchString(first) {
		t.Errorf("the read line:\n%s", first)
	}
	second := screen()
	at, below := strings.Index(second, "a warning"), strings.Index(second, "running")
	if at < 0 || below < at || strings.Count(second, "IOPS") != 2 {
		t.Errorf("a message above:\n%s", second)
	}
	third := screen()
	if strings.Contains(third, "IOPS") || !strings.Contains(third, "a warning\nthe summary\n") {
		t.Errorf("at the end:\n%s", third)
	}
}

// inTmux is the program that draws; it waits to be looked at after each step.
func inTmux(t *testing.T, script string) {
	args := strings.Fields(script)
	look := func() {
		for _, step := range [][]string{{"-S", "drawn"}, {"seen"}} {
			if out, err := exec.CommandContext(t.Context(), args[0], append(args[1:len(args):len(args)], step...)...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
	}
	d := live.New(os.Stdout, live.Options{Colour: true})
	for i := range 31 {
		d.Show(state(i))
	}
	look()
	d.Above(func() { fmt.Println("a warning") })
	d.Show(state(31))
	look()
	d.Close()
	fmt.Println("the summary")
	look()
}

// TestNarrowerTerminal: lines that were drawn for a wide terminal, and that a narrower one has wrapped, are all taken back.
func TestNarrowerTerminal(t *testing.T) {
	_, slave := pty(t, 120)
	var width atomic.Int32
	width.Store(120)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	d := live.New(slave, live.Options{Width: func() int { return int(width.Load()) }})
	defer d.Close()
	redirect(t, slave, w)
	w.Close()
	buf := make([]byte, 4096)
	frame := func() string {
		d.Show(state(1))
		n, err := r.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	if first := frame(); strings.Contains(first, "A") {
		t.Errorf("the first frame goes up: %q", first)
	}
	if second := frame(); !strings.HasPrefix(second, "\r\x1b[2A") {
		t.Errorf("three lines: %q", second)
	}
	width.Store(40)
	if err := unix.Kill(os.Getpid(), unix.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	last := frame()
	for strings.HasPrefix(last, "\r\x1b[2A") && strings.Contains(last, "IOPS   607 MiB/s     p50") { // until the signal has come
		last = frame()
	}
	up := 0
	if _, err := fmt.Sscanf(last, "\r\x1b[%dA", &up); err != nil || up <= 2 {
		t.Errorf("after the resize: %q", last)
	}
	for l := range strings.SplitSeq(regexp.MustCompile(`\x1b[^A-Za-z]*[A-Za-z]|\r`).ReplaceAllString(last, ""), "\n") {
		if n := utf8.RuneCountInString(l); n >= 40 {
			t.Errorf("%d columns: %q", n, l)
		}
	}
}
