package iocmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/blkbench/blkbench/cmd/blkbench/imgcmd"
	"github.com/blkbench/blkbench/cmd/blkbench/internal/getopt"
	"github.com/blkbench/blkbench/engine"
)

// Env is what the program works with.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Prog           string // as messages begin: "qemu-io" or "blkbench"
	Link           bool   // called as qemu-io
	Terminal       bool   // a person types the commands
	Version        string
	Registry       *engine.Registry
}

// Exit codes: a command that failed is a failure of the whole.
const (
	exitOK     = 0
	exitFailed = 1
)

// options are those of the program. Its tags are help, too.
type options struct {
	Objects    []string `long:"object" arg:"OBJECT" help:"define a secret or credentials: secret,id=ID,data=TEXT|file=PATH[,format=base64]"`
	References string   `long:"references" arg:"POLICY" exact:"true" help:"names inside images are followed: none, folder (regular files in the image's folder and below) or allow; none under our own name, allow as qemu-io"`
	ImageOpts  bool     `long:"image-opts" help:"images are named by driver=…,file.filename=…"`
	Commands   []string `long:"cmd" short:"c" arg:"STRING" help:"run a command instead of those of the standard input; may be given often"`
	Format     *string  `long:"format" short:"f" arg:"FMT" help:"format of the image; probed where absent"`
	ReadOnly   bool     `long:"read-only" short:"r" help:"open for reading only"`
	Snapshot   bool     `long:"snapshot" short:"s" help:"write to a temporary overlay that is dropped at the end"`
	NoCache    bool     `long:"nocache" short:"n" help:"the cache mode none"`
	CopyOnRead bool     `long:"copy-on-read" short:"C" help:"copy what is read from a backing file"`
	Misalign   bool     `long:"misalign" short:"m" help:"taken and without effect: every buffer may be misaligned"`
	NativeAIO  bool     `long:"native-aio" short:"k" help:"the aio mode native"`
	AIO        *string  `long:"aio" short:"i" arg:"MODE" help:"threads, native or io_uring"`
	Cache      *string  `long:"cache" short:"t" arg:"MODE" help:"none, writeback, writethrough, directsync or unsafe"`
	Discard    *string  `long:"discard" short:"d" arg:"MODE" help:"ignore or unmap"`
	Trace      []string `long:"trace" short:"T" arg:"PATTERN" help:"taken and without effect"`
	ForceShare bool     `long:"force-share" short:"U" help:"read although somebody else writes to the image"`
	Help       bool     `long:"help" short:"h" help:"explain the program"`
	Version    bool     `long:"version" short:"V" help:"print the version"`
}

// session is one run of the program.
type session struct {
	env     *Env
	eng     *engine.Env
	table   []command
	opt     options
	ref     *engine.Ref // the open image; nil when there is none
	how     *opening    // how it was opened
	pending sync.WaitGroup
	quit    bool
	held    map[string]bool // tags of requests that were said to be held
	output  sync.Mutex
}

// Run is the program.
func Run(ctx context.Context, env *Env, args []string) int {
	s := &session{env: env, table: commands(), held: map[string]bool{}}
	found, operands, err := getopt.BindFound(&s.opt, getopt.Style{}, args)
	switch {
	case err != nil:
		s.errorf("%v", err)
		s.usage(env.Stderr)
		return exitFailed
	case s.opt.Version:
		fmt.Fprintf(env.Stdout, "qemu-io version 7.2.0 (blkbench %s)\n", env.Version)
		return exitOK
	case s.opt.Help:
		s.usage(env.Stdout)
		return exitOK
	}
	how, err := s.startOpening(found)
	if err == nil && len(operands) > 1 {
		s.usage(env.Stderr)
		return exitFailed
	}
	if err == nil {
		s.eng, err = imgcmd.NewEngine(s.imgEnv(), s.opt.References, s.opt.Objects)
	}
	if err != nil {
		s.errorf("%v", err)
		return exitFailed
	}
	if len(operands) == 1 {
		how.name, how.named = operands[0], true
		if !s.open(ctx, how) {
			return exitFailed
		}
	}
	ok := s.loop(ctx)
	if s.ref != nil && !s.close() {
		ok = false
	}
	if !ok {
		return exitFailed
	}
	return exitOK
}

func (s *session) imgEnv() *imgcmd.Env {
	return &imgcmd.Env{
		Stdin: s.env.Stdin, Stdout: s.env.Stdout, Stderr: s.env.Stderr, Prog: s.env.Prog, Link: s.env.Link, Version: s.env.Version,
		Registry: s.env.Registry,
	}
}

// startOpening makes of the program's options how an image is opened.
func (s *session) startOpening(found []getopt.Found) (*opening, error) {
	how := newOpening()
	for _, f := range found {
		if err := how.option(f.Option.Long, f.Value); err != nil {
			return nil, err
		}
	}
	how.imageOpts = s.opt.ImageOpts
	if s.opt.Format != nil {
		if how.imageOpts {
			return nil, errors.New("--image-opts and -f are mutually exclusive")
		}
		how.format = *s.opt.Format
	}
	return how, nil
}

// loop runs the commands of -c, or those of the standard input, and reports whether all have worked.
func (s *session) loop(ctx context.Context) bool {
	ok := true
	if len(s.opt.Commands) > 0 {
		for _, line := range s.opt.Commands {
			if s.quit || ctx.Err() != nil {
				break
			}
			ok = s.execute(ctx, line) && ok
		}
		s.pending.Wait()
		return ok
	}
	in := bufio.NewReader(s.env.Stdin)
	for !s.quit && ctx.Err() == nil {
		s.prompt()
		line, err := in.ReadString('\n')
		if line = strings.TrimSuffix(line, "\n"); line != "" {
			ok = s.execute(ctx, line) && ok
		}
		if err != nil && line == "" {
			break
		}
	}
	s.pending.Wait()
	return ok
}

func (s *session) prompt() {
	switch {
	case s.env.Link:
		s.print("qemu-io> ")
	case s.env.Terminal:
		s.print("blkbench io> ")
	}
}

// print writes a message in one piece, whoever else is printing.
func (s *session) print(text string) {
	s.output.Lock()
	defer s.output.Unlock()
	_, _ = io.WriteString(s.env.Stdout, text)
}

func (s *session) eprintf(format string, args ...any) {
	s.output.Lock()
	defer s.output.Unlock()
	fmt.Fprintf(s.env.Stderr, format, args...)
}

// errorf prints a message behind the program's name.
func (s *session) errorf(format string, args ...any) {
	s.eprintf("%s: %s\n", s.env.Prog, fmt.Sprintf(format, args...))
}

func (s *session) usage(w io.Writer) {
	fmt.Fprintf(w, "Usage: %s [OPTIONS]... [-c STRING]... [file]\n\nReads, writes and examines a disk image by commands.\n\n", s.env.Prog)
	for _, f := range Flags() {
		name := f.Name
		if f.Arg != "" {
			name += " " + f.Arg
		}
		fmt.Fprintf(w, "  %-26s %s\n", name, strings.Join(getopt.Fold(f.Help, 70), "\n"+strings.Repeat(" ", 29)))
	}
	fmt.Fprintf(w, "\nThe commands: %s -c help\n", s.env.Prog)
}

// Flag is an option as help shows it.
type Flag struct{ Name, Arg, Help string }

// Flags describes the options of the program.
func Flags() []Flag {
	var list []Flag
	for _, o := range getopt.Table(new(options)) {
		f := Flag{Name: "--" + o.Long, Arg: o.Arg, Help: o.Help}
		if o.Short != "" {
			f.Name = "-" + o.Short + ", " + f.Name
		}
		list = append(list, f)
	}
	return list
}

// Terminal reports whether a person sits behind a file.
func Terminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0 && !slices.Contains([]string{os.DevNull}, f.Name())
}
