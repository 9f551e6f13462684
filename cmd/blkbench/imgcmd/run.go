package imgcmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/blkbench/blkbench/cmd/blkbench/internal/getopt"
	"github.com/blkbench/blkbench/engine"
)

// Env is what the verbs work with.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Prog           string // as messages begin: "qemu-img" or "blkbench"
	Link           bool   // called as qemu-img
	Version        string
	Registry       *engine.Registry
}

// Exit codes that all verbs have; check and compare have more.
const (
	exitOK     = 0
	exitFailed = 1 // any failure, a wrong command line too
)

// Run is the program qemu-img: standard options, then a sub-command.
func Run(ctx context.Context, env *Env, args []string) int {
	c := &call{env: env}
	if len(args) == 0 {
		return c.tryHelp("Not enough arguments")
	}
	var o struct {
		Help    bool     `long:"help" short:"h"`
		Version bool     `long:"version" short:"V"`
		Trace   []string `long:"trace" short:"T" arg:"PATTERN"`
	}
	found, rest, err := getopt.BindFound(&o, getopt.Style{Ordered: true}, args)
	switch {
	case given(found, "help"):
		Help(env)
		return exitOK
	case given(found, "version"):
		writeVersion(env)
		return exitOK
	case err != nil:
		return c.badOption(err)
	case len(rest) == 0:
		return c.tryHelp("Not enough arguments")
	}
	return RunVerb(ctx, env, rest[0], rest[1:])
}

// given reports whether an option is among those that were read.
func given(found []getopt.Found, long string) bool {
	return slices.ContainsFunc(found, func(f getopt.Found) bool { return f.Option.Long == long })
}

// RunVerb runs one sub-command.
func RunVerb(ctx context.Context, env *Env, name string, args []string) int {
	cmd := lookup(name)
	if cmd == nil {
		return (&call{env: env}).tryHelp("Command not found: %s", name)
	}
	return cmd.run(ctx, env, args)
}

// command is a row of the table.
type command struct {
	name    string
	usage   string // operands, as help shows them
	summary string // one line
	tail    bool   // the last argument is no option, whatever it looks like: it is call.last
	long    string // paragraphs
	options func() []getopt.Option
	run     func(ctx context.Context, env *Env, args []string) int
}

// define makes a row whose options are a struct O. run returns the exit code and has said what went wrong.
func define[O any](name, usage, summary, long string, run func(ctx context.Context, c *call, o *O) int) command {
	return defineRow(command{name: name, usage: usage, summary: summary, long: long}, run)
}

// defineRow is define for a row with more than the usual fields.
func defineRow[O any](cmd command, run func(ctx context.Context, c *call, o *O) int) command {
	cmd.options = func() []getopt.Option { return getopt.Table(new(O)) }
	cmd.run = func(ctx context.Context, env *Env, args []string) int {
		c := &call{env: env, cmd: &cmd}
		if cmd.tail {
			if len(args) < 2 && !slices.Contains([]string{"-h", "--help"}, strings.Join(args, "")) {
				return c.tryHelp("Not enough arguments")
			}
			if n := len(args); n >= 2 {
				args, c.last = args[:n-1], args[n-1]
			}
		}
		o := new(O)
		var err error
		c.found, c.args, err = getopt.BindFound(o, getopt.Style{}, args)
		if given(c.found, "help") {
			c.help()
			return exitOK
		}
		if err != nil {
			return c.badOption(err)
		}
		if !c.prepare(o) {
			return exitFailed
		}
		return run(ctx, c, o)
	}
	return cmd
}

// call is one run of a verb.
type call struct {
	env   *Env
	cmd   *command
	eng   *engine.Env    // what images are opened in
	found []getopt.Found // options in the order they were given
	args  []string       // operands
	last  string         // the last argument of a verb with a tail
	quiet bool
}

// Options that several verbs share; their structs embed what they have.
type (
	helpOption struct {
		Help bool `long:"help" short:"h" help:"explain the verb"`
	}
	objectOption struct {
		Objects    []string `long:"object" arg:"OBJECT" help:"define a secret or credentials: secret,id=ID,data=TEXT|file=PATH[,format=base64]"`
		References string   `long:"references" arg:"POLICY" exact:"true" help:"names inside images are followed: none, folder (regular files in the image's folder and below) or allow; none under our own name, allow as qemu-img"`
		Destroy    []string `long:"allow-destroy" arg:"DEVICE" exact:"true" help:"block device that may be overwritten; as qemu-img naming it is enough"`
	}
	imageOption struct {
		ImageOpts bool `long:"image-opts" help:"the image is named by driver=…,file.filename=…"`
	}
	shareOption struct {
		ForceShare bool `long:"force-share" short:"U" help:"read although somebody else writes to the image"`
	}
	quietOption struct {
		Quiet bool `short:"q" help:"print nothing but errors"`
	}
)

func (o *objectOption) shared() *objectOption { return o }
func (o *quietOption) isQuiet() bool          { return o.Quiet }

// prepare makes the engine's environment from the options that verbs share.
func (c *call) prepare(o any) bool {
	if q, ok := o.(interface{ isQuiet() bool }); ok {
		c.quiet = q.isQuiet()
	}
	var shared objectOption
	if h, ok := o.(interface{ shared() *objectOption }); ok {
		shared = *h.shared()
	}
	var err error
	if c.eng, err = NewEngine(c.env, shared.References, shared.Objects); err != nil {
		c.errorf("%v", err)
		return false
	}
	c.eng.AllowDestroy = shared.Destroy
	return true
}

// printf prints unless -q is given.
func (c *call) printf(format string, args ...any) {
	if !c.quiet {
		fmt.Fprintf(c.env.Stdout, format, args...)
	}
}

// errorf prints a message behind the program's name.
func (c *call) errorf(format string, args ...any) {
	fmt.Fprintf(c.env.Stderr, "%s: %s\n", c.env.Prog, fmt.Sprintf(format, args...))
}

func (c *call) warnf(format string, args ...any) { c.errorf("warning: "+format, args...) }

// fail is errorf; it returns the exit code of a failure.
func (c *call) fail(format string, args ...any) int {
	c.errorf(format, args...)
	return exitFailed
}

// tryHelp is fail for a wrong command line.
func (c *call) tryHelp(format string, args ...any) int {
	c.errorf(format, args...)
	where := c.env.Prog + " --help"
	if !c.env.Link && c.cmd != nil {
		where = c.env.Prog + " help " + c.cmd.name
	}
	fmt.Fprintf(c.env.Stderr, "Try '%s' for more information\n", where)
	return exitFailed
}

// badOption says what getopt found wrong, in qemu-img's words.
func (c *call) badOption(err error) int {
	e, ok := errors.AsType[*getopt.Error](err)
	if !ok {
		return c.tryHelp("%v", err)
	}
	arg := e.Arg
	if arg == "" && c.cmd != nil {
		arg = c.cmd.name
	}
	if e.Missing {
		return c.tryHelp("missing argument for option '%s'", arg)
	}
	return c.tryHelp("unrecognized option '%s'", arg)
}

// outputJSON reads --output; ok is false after a message.
func (c *call) outputJSON(output *string) (json, ok bool) {
	if output == nil || *output == "human" {
		return false, true
	}
	if *output == "json" {
		return true, true
	}
	c.fail("--output must be used with human or json as argument.")
	return false, false
}

func writeVersion(env *Env) {
	fmt.Fprintf(env.Stdout, "qemu-img version 7.2.0 (blkbench %s)\n", env.Version)
}

func (c *call) help() {
	if c.env.Link {
		Help(c.env)
		return
	}
	w := c.env.Stdout
	fmt.Fprintf(w, "%s %s: %s\n\nusage: %s %s\n", c.env.Prog, c.cmd.name, c.cmd.summary, c.env.Prog, c.cmd.syntax())
	if c.cmd.long != "" {
		fmt.Fprintf(w, "\n%s\n", strings.Join(getopt.Fold(c.cmd.long, 100), "\n"))
	}
	fmt.Fprintln(w)
	for _, f := range c.cmd.flags() {
		left := f.Name
		if f.Short != "" && f.Short != f.Name {
			left = f.Short + ", " + left
		}
		if f.Arg != "" {
			left += " " + f.Arg
		}
		fmt.Fprintf(w, "  %-26s %s\n", left, strings.Join(getopt.Fold(f.Help, 71), "\n"+strings.Repeat(" ", 29)))
	}
}

// Help lists the sub-commands and the formats.
func Help(env *Env) {
	w := env.Stdout
	writeVersion(env)
	fmt.Fprintf(w, "usage: %s [-h | --help] [-V | --version] [-T | --trace PATTERN] command [command options]\n\n"+
		"Creates, converts and examines disk images.\n\nCommand syntax:\n", env.Prog)
	for _, cmd := range commands() {
		fmt.Fprintf(w, "  %s\n", cmd.syntax())
	}
	fmt.Fprintf(w, "\nSizes are bytes, or have a suffix k, M, G, T, P or E for powers of 1024. Cache modes are none, writeback, writethrough,\n"+
		"directsync and unsafe. Options of a format: create -f FORMAT -o help.\n\nSupported formats: %s\n",
		strings.Join(env.Registry.Names(nil), " "))
}

// syntax is the verb with its options in brackets.
func (cmd *command) syntax() string {
	var b strings.Builder
	b.WriteString(cmd.name)
	for _, f := range cmd.flags() {
		b.WriteString(" [" + cmp.Or(f.Short, f.Name))
		if f.Arg != "" {
			b.WriteString(" " + f.Arg)
		}
		b.WriteByte(']')
	}
	return b.String() + " " + cmd.usage
}

// Flag is an option as help shows it.
type Flag struct {
	Name  string // with dashes; the letter where there is no long name
	Short string // the letter with its dash, or empty
	Arg   string
	Help  string
}

func (cmd *command) flags() []Flag {
	var list []Flag
	for _, o := range cmd.options() {
		f := Flag{Name: "--" + o.Long, Arg: o.Arg, Help: o.Help}
		if o.Short != "" {
			f.Short = "-" + o.Short
		}
		if o.Long == "" {
			f.Name = f.Short
		}
		list = append(list, f)
	}
	return list
}

// Verb is a sub-command as help, manual page and completion show it.
type Verb struct {
	Name, Usage, Summary, Long string
	Flags                      []Flag
}

// Docs describes the sub-commands.
func Docs() []Verb {
	var list []Verb
	for _, cmd := range commands() {
		list = append(list, Verb{cmd.name, "[options] " + cmd.usage, cmd.summary, cmd.long, cmd.flags()})
	}
	return list
}
