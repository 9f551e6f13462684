package uring

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The test binary runs itself where a test needs a process of its own: one with a filter, or with limits.
func TestMain(m *testing.M) {
	what := os.Getenv("URING_TEST_CHILD")
	if what == "" || os.Getenv("URING_TEST_INSIDE") == "" {
		os.Exit(m.Run())
	}
	runtime.LockOSThread()
	if err := children[what](); err != nil {
		fmt.Println(err)
	}
	os.Exit(0)
}

// child runs the test binary as what URING_TEST_CHILD says, and returns what it prints.
func child(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	cmd.Env = append(os.Environ(), "URING_TEST_INSIDE=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

var children = map[string]func() error{
	"EPERM":  func() error { return filtered(unix.EPERM) },
	"ENOSYS": func() error { return filtered(unix.ENOSYS) },
	"memlock": func() error {
		if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: 65536, Max: 65536}); err != nil {
			return err
		}
		if err := unix.Setresuid(65534, 65534, 65534); err != nil {
			return err
		}
		r, err := NewReactor(Config{})
		if err != nil {
			return err
		}
		mem, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			return err
		}
		_, err = r.AddBuffer(uintptr(unsafe.Pointer(&mem[0])), 1<<20)
		return fmt.Errorf("registered: %w", err)
	},
}

// filtered probes under a seccomp filter that answers io_uring_setup with errno, as containers have.
func filtered(errno unix.Errno) error {
	prog := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number of the call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 1, K: unix.SYS_IO_URING_SETUP},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x00050000 | uint32(errno)}, // SECCOMP_RET_ERRNO
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x7fff0000},                 // SECCOMP_RET_ALLOW
	}
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, 1, 0, uintptr(unsafe.Pointer(&fprog))); e != 0 {
		return e
	}
	fmt.Println(ProbeKernel())
	return nil
}

func TestFilteredProcessLearnsWhy(t *testing.T) {
	for errno, want := range map[string]string{
		"EPERM":  "io_uring unavailable: refused by this process's seccomp filter (operation not permitted)\n",
		"ENOSYS": "io_uring unavailable: hidden by this process's seccomp filter\n",
	} {
		t.Setenv("URING_TEST_CHILD", errno)
		if out := child(t); out != want {
			t.Errorf("%s: %q, want %q", errno, out, want)
		}
	}
}

func TestReasonsAreNamed(t *testing.T) {
	for _, c := range []struct {
		c    circumstances
		err  error
		want string
	}{
		{circumstances{"6.6.1", "2", false}, unix.EPERM, "switched off by sysctl kernel.io_uring_disabled=2"},
		{circumstances{"6.6.1", "2", true}, unix.EPERM, "switched off by sysctl kernel.io_uring_disabled=2"},
		{
			circumstances{"6.6.1", "1", false},
			unix.EPERM,
			"sysctl kernel.io_uring_disabled=1 and neither CAP_SYS_ADMIN nor a member of kernel.io_uring_group",
		},
		{circumstances{"6.6.1", "0", false}, unix.EACCES, "refused by a security module (permission denied)"},
		{circumstances{"4.19.0-x", "", false}, unix.ENOSYS, "not in Linux 4.19.0-x"},
		{circumstances{"6.1.0", "", false}, unix.ENOSYS, "not in Linux 6.1.0 as it was built"},
		{circumstances{"5.4.0", "", false}, unix.EINVAL, "Linux 5.4.0 is too old, 5.6 is needed"},
		{circumstances{"5.10.0", "", false}, unix.ENOMEM, "no memory for a ring, or RLIMIT_MEMLOCK too low"},
	} {
		got := c.c.reason(c.err)
		if !errors.Is(got, ErrUnavailable) {
			t.Errorf("%v is not ErrUnavailable", got)
		}
		text := strings.TrimPrefix(strings.TrimPrefix(got.Error(), "io_uring unavailable"), ":")
		if strings.TrimSpace(text) != c.want {
			t.Errorf("%+v with %v: %q, want %q", c.c, c.err, got, c.want)
		}
		if strings.Contains(got.Error(), "\n") {
			t.Errorf("%q is more than a line", got)
		}
	}
	if err := (circumstances{}).reason(unix.EMFILE); errors.Is(err, ErrUnavailable) || !errors.Is(err, unix.EMFILE) {
		t.Errorf("out of descriptors: %v", err)
	}
}

func TestProbeOfThisKernel(t *testing.T) {
	p := ProbeKernel()
	if p.Err != nil {
		need(t, "io_uring", p.Err)
	}
	for _, op := range []Op{OpNop, OpRead, OpWriteFixed, OpFsync, OpAsyncCancel} {
		if !p.Offers(op) {
			t.Errorf("no %s", op)
		}
	}
	if p.Offers(Op(255)) {
		t.Error("operation 255 is offered")
	}
	r := open(t, Config{})
	if got := p.Default &^ FeatRegisteredRing; got != r.Features() {
		t.Errorf("a ring has %s, the probe says %s", r.Features(), got)
	}
	if missing := r.Features() &^ p.Features; missing != 0 {
		t.Errorf("a ring has %s, which the probe did not find", missing)
	}
	var b strings.Builder
	if err := p.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, name := range featureNames {
		if !strings.Contains(b.String(), "\n"+name+" ") {
			t.Errorf("no row %s in\n%s", name, b.String())
		}
	}
	if line := p.String(); strings.Contains(line, "\n") || !strings.Contains(line, p.Kernel) {
		t.Errorf("one line with the release was wanted: %q", line)
	}
	t.Logf("\n%s%s", b.String(), p)
}
