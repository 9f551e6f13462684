// Init is process 1 of a test guest: it sets the machine up, runs the jobs it was given and switches off. The other
// end of its control line is package guest.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

type job struct {
	Name    string   `json:"name"`
	Argv    []string `json:"argv"`
	Env     []string `json:"env"`
	Seconds int      `json:"seconds"`
}

type message struct {
	Event  string `json:"event"`
	Name   string `json:"name,omitempty"`
	Text   string `json:"text,omitempty"`
	Code   int    `json:"code,omitempty"`
	Killed bool   `json:"killed,omitempty"`
}

// control is the line to the host.
type control struct {
	mu      sync.Mutex
	f       *os.File
	replies chan string
}

func main() {
	err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "init:", err)
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF) // there is nobody to tell
	select {}
}

func run() error {
	if err := mountAll(); err != nil {
		return err
	}
	c, err := openControl()
	if err != nil {
		return err
	}
	defer c.send(message{Event: "done"})
	text, err := os.ReadFile("/etc/guest.json")
	if err != nil {
		return err
	}
	var todo struct {
		Modules []string `json:"modules"`
		Jobs    []job    `json:"jobs"`
	}
	if err := json.Unmarshal(text, &todo); err != nil {
		return err
	}
	for _, m := range todo.Modules {
		if err := insert(m); err != nil {
			fmt.Fprintln(os.Stderr, "init:", m, err)
		}
	}
	if err := loopbackUp(); err != nil {
		fmt.Fprintln(os.Stderr, "init: lo:", err)
	}
	if err := noteControllers(); err != nil {
		return err
	}
	if err := c.listen("/run/host"); err != nil {
		return err
	}
	for _, j := range todo.Jobs {
		c.run(j)
	}
	return nil
}

func mountAll() error {
	for _, m := range []struct{ kind, at string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}, {"tmpfs", "/run"},
	} {
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	if err := os.MkdirAll("/dev/shm", 0o755); err != nil {
		return err
	}
	return unix.Mount("tmpfs", "/dev/shm", "tmpfs", 0, "")
}

func insert(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), "", 0)
}

// openControl opens the second serial line without echo and translation.
func openControl() (*control, error) {
	f, err := os.OpenFile("/dev/ttyS1", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return nil, err
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | unix.B115200
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, t); err != nil {
		return nil, err
	}
	c := &control{f: f, replies: make(chan string, 1)}
	go c.read()
	return c, nil
}

func (c *control) send(m message) {
	b, err := json.Marshal(m)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = c.f.Write(append(b, '\n')) // a host that does not listen ends the machine
}

func (c *control) read() {
	in := bufio.NewScanner(c.f)
	for in.Scan() {
		var m message
		if json.Unmarshal(in.Bytes(), &m) == nil && m.Event == "reply" {
			c.replies <- m.Text
		}
	}
}

// listen forwards what jobs want of the host.
func (c *control) listen(path string) error {
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			text, err := bufio.NewReader(conn).ReadString('\n')
			if err == nil {
				c.send(message{Event: "host", Text: strings.TrimSpace(text)})
				fmt.Fprintln(conn, <-c.replies)
			}
			conn.Close()
		}
	}()
	return nil
}

// run runs one job to its end, or to its time limit.
func (c *control) run(j job) {
	c.send(message{Event: "start", Name: j.Name})
	if j.Seconds == 0 {
		j.Seconds = 120
	}
	cmd := exec.Command(j.Argv[0], j.Argv[1:]...)
	if p, err := exec.LookPath("/bin/" + j.Argv[0]); err == nil {
		cmd.Path, cmd.Err = p, nil
	}
	cmd.Dir = "/tmp"
	cmd.Env = append([]string{
		"PATH=/bin:/sbin:/usr/bin:/usr/sbin", "HOME=/root", "TMPDIR=/tmp", "BLKBENCH_GUEST=1", "GOTRACEBACK=all",
	}, j.Env...)
	out := &lines{send: func(text string) { c.send(message{Event: "out", Name: j.Name, Text: text}) }}
	cmd.Stdout, cmd.Stderr = out, out
	err := cmd.Start()
	if err != nil {
		c.send(message{Event: "out", Name: j.Name, Text: err.Error() + "\n"})
		c.send(message{Event: "exit", Name: j.Name, Code: 127})
		return
	}
	killed := false
	timer := time.AfterFunc(time.Duration(j.Seconds)*time.Second, func() {
		killed = true
		_ = cmd.Process.Kill() // it may have ended just now
	})
	_ = cmd.Wait() // the exit code says it
	timer.Stop()
	out.flush()
	c.send(message{Event: "exit", Name: j.Name, Code: cmd.ProcessState.ExitCode(), Killed: killed})
}

// lines sends whole lines.
type lines struct {
	mu   sync.Mutex
	part []byte
	send func(string)
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part = append(l.part, p...)
	if i := strings.LastIndexByte(string(l.part), '\n'); i >= 0 {
		l.send(string(l.part[:i+1]))
		l.part = append([]byte(nil), l.part[i+1:]...)
	}
	return len(p), nil
}

func (l *lines) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.part) > 0 {
		l.send(string(l.part))
	}
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
}

// noteControllers writes down which serial number sits at which address, while the kernel's driver has them all.
func noteControllers() error {
	pci, err := filepath.Glob("/sys/bus/pci/devices/*")
	if err != nil {
		return err
	}
	want := 0
	for _, d := range pci {
		if class, err := os.ReadFile(filepath.Join(d, "class")); err == nil && strings.TrimSpace(string(class)) == "0x010802" {
			want++
		}
	}
	var out strings.Builder
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		found, err := filepath.Glob("/sys/bus/pci/devices/*/nvme/nvme*")
		if err != nil {
			return err
		}
		out.Reset()
		live := 0
		for _, f := range found {
			state, err := os.ReadFile(filepath.Join(f, "state"))
			serial, serr := os.ReadFile(filepath.Join(f, "serial"))
			if err != nil || serr != nil || strings.TrimSpace(string(state)) != "live" {
				continue
			}
			live++
			fmt.Fprintf(&out, "%s %s\n", filepath.Base(filepath.Dir(filepath.Dir(f))), strings.TrimSpace(string(serial)))
		}
		if live == want || time.Now().After(deadline) {
			break
		}
	}
	return os.WriteFile("/run/controllers", []byte(out.String()), 0o600)
}
