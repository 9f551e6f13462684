package guest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Job is one program to run in the guest.
type Job struct {
	// Name is the job's subtest.
	Name string `json:"name"`
	// Argv is the program and its arguments.
	Argv []string `json:"argv"`
	// Env is added to the environment.
	Env []string `json:"env,omitempty"`
	// Seconds bounds it, 120 if 0.
	Seconds int `json:"seconds,omitempty"`
	// Check looks at the output and exit code; without it a code other than 0 is a failure.
	Check func(t *testing.T, output string, code int) `json:"-"`
}

// GoTest is a job that runs the tests matching pattern of a test binary from Image.Tests.
func GoTest(pkg, pattern string, args ...string) Job {
	name := filepath.Base(pkg)
	argv := append([]string{"/test/" + name, "-test.v", "-test.run", pattern, "-test.timeout", "150s"}, args...)
	return Job{Name: name, Argv: argv, Seconds: 160}
}

// message is a line of the protocol, in either direction.
type message struct {
	Event  string `json:"event"` // from the guest: start, out, exit, host, done; to it: reply
	Name   string `json:"name,omitempty"`
	Text   string `json:"text,omitempty"`
	Code   int    `json:"code,omitempty"`
	Killed bool   `json:"killed,omitempty"`
}

// Need skips the test unless the host can run guests; with BLKBENCH_REQUIRE_PEERS=1 it fails instead.
func need(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("BLKBENCH_REQUIRE_PEERS") == "1" {
		t.Fatalf("requires %s", what)
	}
	t.Skipf("requires %s", what)
}

// Run boots the machine with the image, runs the jobs one after the other and reports each as a subtest, and each test
// of a Go test binary as a subtest of that.
func Run(t *testing.T, m Machine, img Image, jobs ...Job) {
	t.Helper()
	const qemu = "qemu-system-x86_64"
	if _, err := exec.LookPath(qemu); err != nil {
		need(t, qemu)
	}
	for _, p := range img.Programs {
		if _, err := exec.LookPath(p); err != nil {
			need(t, p)
		}
	}
	k, err := openKernel()
	if missing, ok := errors.AsType[errRequires](err); ok {
		need(t, missing.what)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "guest") //nolint:usetesting // a test's own folder may be too long a name for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	initrd := filepath.Join(dir, "initrd")
	if err := img.build(k, initrd, jobs); err != nil {
		t.Fatal(err)
	}
	args, err := m.args(dir)
	if err != nil {
		t.Fatal(err)
	}
	console, control, monitor := filepath.Join(dir, "console"), filepath.Join(dir, "control"), filepath.Join(dir, "monitor")
	l, err := net.Listen("unix", control)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	args = append(args,
		"-serial", "file:"+console, "-chardev", "socket,id=control,path="+control, "-serial", "chardev:control",
		"-qmp", "unix:"+monitor+",server=on,wait=off",
		"-kernel", k.image, "-initrd", initrd,
		"-append", "console=ttyS0 intel_iommu=on iommu=nopt quiet loglevel=4 panic=-1 "+m.Kernel)
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(60+total(jobs))*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, qemu, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &session{t: t, jobs: jobs, monitor: monitor}
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Wait()
		l.Close()
	}()
	err = s.serve(l)
	// A guest that has said "done" is powering off; one that has not is of no use any more.
	if err != nil {
		cancel()
	}
	if wait := <-ended; err == nil && wait != nil {
		err = wait
	}
	if err != nil {
		tail, _ := os.ReadFile(console) // what is there helps, what is not does not hurt
		t.Errorf("guest: %v\nqemu: %s\nconsole:\n%s", err, stderr.String(), lastLines(string(tail), 40))
	}
	s.report()
}

func total(jobs []Job) int {
	n := 0
	for _, j := range jobs {
		if j.Seconds == 0 {
			n += 120
		}
		n += j.Seconds
	}
	return n
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// session is the host's end of the control line.
type session struct {
	t       *testing.T
	jobs    []Job
	monitor string
	results map[string]*result
}

type result struct {
	output strings.Builder
	code   int
	killed bool
	ended  bool
}

// serve follows the guest until it says that it is done.
func (s *session) serve(l net.Listener) error {
	s.results = map[string]*result{}
	c, err := l.Accept()
	if err != nil {
		return errors.New("QEMU ended before it opened the control line")
	}
	defer c.Close()
	in := bufio.NewScanner(c)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var m message
		if json.Unmarshal(in.Bytes(), &m) != nil {
			continue // noise from before init has set the line up
		}
		switch m.Event {
		case "done":
			return nil
		case "start":
			s.results[m.Name] = &result{}
		case "out":
			if r := s.results[m.Name]; r != nil {
				r.output.WriteString(m.Text)
			}
			if testing.Verbose() {
				s.t.Logf("%s: %s", m.Name, strings.TrimRight(m.Text, "\n"))
			}
		case "exit":
			if r := s.results[m.Name]; r != nil {
				r.code, r.killed, r.ended = m.Code, m.Killed, true
			}
		case "host":
			reply := message{Event: "reply"}
			if err := monitor(s.monitor, m.Text); err != nil {
				reply.Text = err.Error()
			}
			b, err := json.Marshal(reply)
			if err != nil {
				return err
			}
			if _, err := c.Write(append(b, '\n')); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("the guest ended without saying so: %w", errors.Join(in.Err(), net.ErrClosed))
}

// report makes a subtest of every job.
func (s *session) report() {
	for _, j := range s.jobs {
		s.t.Run(j.Name, func(t *testing.T) {
			r := s.results[j.Name]
			switch {
			case r == nil:
				t.Fatal("not run")
			case r.killed || !r.ended:
				t.Errorf("did not end in time\n%s", lastLines(r.output.String(), 60))
			case j.Check != nil:
				j.Check(t, r.output.String(), r.code)
				return
			}
			tests := parseTests(r.output.String())
			for _, g := range tests {
				t.Run(g.name, g.report)
			}
			if r.code != 0 && !t.Failed() || len(tests) == 0 && r.code != 0 {
				t.Errorf("exit code %d\n%s", r.code, lastLines(r.output.String(), 60))
			}
			if j.Argv[0] == "/test/"+j.Name && len(tests) == 0 {
				t.Errorf("no test ran\n%s", lastLines(r.output.String(), 20))
			}
		})
	}
}

// monitor runs a command of the human monitor through QMP.
func monitor(path, command string) error {
	c, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	enc, dec := json.NewEncoder(c), json.NewDecoder(c)
	type request struct {
		Execute   string            `json:"execute"`
		Arguments map[string]string `json:"arguments,omitempty"`
	}
	for _, r := range []request{
		{Execute: "qmp_capabilities"},
		{Execute: "human-monitor-command", Arguments: map[string]string{"command-line": command}},
	} {
		if err := enc.Encode(r); err != nil {
			return err
		}
		for {
			var answer map[string]json.RawMessage
			if err := dec.Decode(&answer); err != nil {
				return err
			}
			if e, bad := answer["error"]; bad {
				return fmt.Errorf("%s: %s", command, e)
			}
			if text, done := answer["return"]; done {
				var said string
				if json.Unmarshal(text, &said) == nil && strings.TrimSpace(said) != "" {
					return fmt.Errorf("%s: %s", command, strings.TrimSpace(said))
				}
				break
			}
		}
	}
	return nil
}
