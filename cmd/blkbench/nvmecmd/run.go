package nvmecmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/blkbench/blkbench/cmd/blkbench/internal/getopt"
	"github.com/blkbench/blkbench/engine/opts"
	"github.com/blkbench/blkbench/nvme"
	"github.com/blkbench/blkbench/vfio/pci"
)

// Env is what the sub-commands work with.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Prog           string // "nvme", or "blkbench nvme"
	Link           bool   // exit codes are nvme-cli's
	Version        string
	Bus            pci.Bus
	// Open opens a device by name; nil is the machine's devices.
	Open func(ctx context.Context, name string) (*Device, error)
}

// Exit codes. nvme-cli has 1 for every failure.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError is a command line that is wrong.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// silentError is a failure that has been reported.
type silentError struct{ error }

// Run runs the sub-command that args begin with and returns the exit code.
func Run(ctx context.Context, env *Env, args []string) int {
	if len(args) == 0 {
		Help(env.Stdout, env.Prog)
		return exitOK
	}
	name := args[0]
	switch name {
	case "-h", "--help":
		name = "help"
	case "-V", "--version", "-v":
		name = "version"
	}
	c := lookup(name)
	if c == nil {
		msg := fmt.Sprintf("ERROR: Invalid sub-command '%s'", args[0])
		if near := opts.Nearest(args[0], names()); near != "" {
			msg += fmt.Sprintf("; did you mean '%s'?", near)
		}
		fmt.Fprintln(env.Stderr, msg)
		return env.code(exitUsage)
	}
	for _, a := range args[1:] {
		if a == "--help" || a == "-h" && !c.hasShort("h") {
			c.usage(env.Stdout, env.Prog)
			return exitOK
		}
		if a == "--" {
			break
		}
	}
	return env.report(c, c.run(ctx, env, args[1:]))
}

func (env *Env) code(code int) int {
	if env.Link && code != exitOK {
		return exitFailed
	}
	return code
}

// report prints an error and finds its exit code.
func (env *Env) report(c *command, err error) int {
	if err == nil {
		return exitOK
	}
	if _, ok := errors.AsType[silentError](err); ok {
		return exitFailed
	}
	if status, ok := errors.AsType[*nvme.StatusError](err); ok {
		fmt.Fprintf(env.Stderr, "NVMe status: %v\n", status.Status)
		return exitFailed
	}
	if usage, ok := errors.AsType[usageError](err); ok {
		fmt.Fprintf(env.Stderr, "%s: %v (%s %s --help)\n", c.name, usage, env.Prog, c.name)
		return env.code(exitUsage)
	}
	fmt.Fprintf(env.Stderr, "%s: %v\n", c.name, err)
	return exitFailed
}

// call is one run of a sub-command.
type call struct {
	env  *Env
	cmd  *command
	out  *bufio.Writer
	args []string // operands
	dev  *Device
}

func (c *call) errorf(format string, args ...any) {
	fmt.Fprintf(c.env.Stderr, format+"\n", args...)
}

// command is a row of the table.
type command struct {
	name     string
	operands string // what help shows behind the name
	summary  string // one line
	long     string // a paragraph
	options  func() []getopt.Option
	run      func(ctx context.Context, env *Env, args []string) error
}

// define makes a row whose options are a struct O. device says that the first operand is a device, which is open when
// run is called.
func define[O any](name, summary, long string, run func(ctx context.Context, c *call, o *O) error) command {
	cmd := command{
		name: name, operands: "<device>", summary: summary, long: long,
		options: func() []getopt.Option { return getopt.Table(new(O)) },
	}
	cmd.run = func(ctx context.Context, env *Env, args []string) error {
		o, c, err := prepare[O](env, &cmd, args)
		if err != nil {
			return err
		}
		if len(c.args) == 0 {
			return usagef("a device is missing: /dev/nvme0, 0000:06:0d.0, nvme://0000:06:0d.0/1 or nvme+vfio-user:///socket/1")
		}
		if len(c.args) > 1 {
			return usagef("what is '%s'?", c.args[1])
		}
		return c.with(ctx, c.args[0], func() error { return run(ctx, c, o) })
	}
	return cmd
}

// plain is define for a sub-command that looks at its operands itself.
func plain[O any](name, operands, summary, long string, run func(ctx context.Context, c *call, o *O) error) command {
	cmd := command{
		name: name, operands: operands, summary: summary, long: long,
		options: func() []getopt.Option { return getopt.Table(new(O)) },
	}
	cmd.run = func(ctx context.Context, env *Env, args []string) error {
		o, c, err := prepare[O](env, &cmd, args)
		if err != nil {
			return err
		}
		return errors.Join(run(ctx, c, o), c.out.Flush())
	}
	return cmd
}

func prepare[O any](env *Env, cmd *command, args []string) (*O, *call, error) {
	o := new(O)
	operands, err := getopt.Bind(o, getopt.Style{LongOnly: true}, args)
	if err != nil {
		return nil, nil, usageError{err}
	}
	return o, &call{env: env, cmd: cmd, out: bufio.NewWriter(env.Stdout), args: operands}, nil
}

// with opens a device for the length of f.
func (c *call) with(ctx context.Context, name string, f func() error) error {
	open := c.env.Open
	if open == nil {
		open = func(ctx context.Context, name string) (*Device, error) { return OpenDevice(ctx, c.env.Bus, name) }
	}
	d, err := open(ctx, name)
	if err != nil {
		return err
	}
	c.dev = d
	err = f()
	return errors.Join(err, d.Close(), c.out.Flush())
}

func (cmd *command) hasShort(letter string) bool {
	for _, o := range cmd.options() {
		if o.Short == letter {
			return true
		}
	}
	return false
}

func (cmd *command) usage(w io.Writer, prog string) {
	fmt.Fprintf(w, "Usage: %s %s %s [OPTIONS]\n\n%s\n", prog, cmd.name, cmd.operands, strings.Join(getopt.Fold(cmd.long, 78), "\n"))
	if table := cmd.options(); len(table) > 0 {
		fmt.Fprintf(w, "\nOptions:\n")
		getopt.Usage(w, table)
	}
}

// Help lists the sub-commands.
func Help(w io.Writer, prog string) {
	fmt.Fprintf(w, "usage: %s <command> [<device>] [<args>]\n\n"+
		"A <device> is a controller or namespace of the kernel's driver (/dev/nvme0, /dev/nvme0n1, /dev/ng0n1), a\n"+
		"controller that is bound to vfio-pci (0000:06:0d.0, nvme://0000:06:0d.0/1), or a vfio-user server's\n"+
		"(nvme+vfio-user:///path/to/socket/1). What destroys data asks for --allow-destroy=SERIAL.\n\nSub-commands:\n", prog)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-28s %s\n", c.name, c.summary)
	}
	fmt.Fprintf(w, "\nSee '%s help <command>' for more information on a specific command\n", prog)
}

func lookup(name string) *command {
	for _, c := range commands() {
		if c.name == name {
			return &c
		}
	}
	return nil
}

func names() []string {
	var list []string
	for _, c := range commands() {
		list = append(list, c.name)
	}
	return list
}

// Docs calls f with the name and summary of every sub-command.
func Docs(f func(name, summary string)) {
	for _, c := range commands() {
		f(c.name, c.summary)
	}
}
