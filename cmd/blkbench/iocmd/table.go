package iocmd

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/blkbench/blkbench/cmd/blkbench/internal/getopt"
)

// command is a row of the table.
type command struct {
	name, alt string
	args      string // as help shows them
	summary   string // one line
	long      string
	min, max  int    // arguments; max is negative for any number
	letters   string // options, as getopt(3) has them; "-" for commands that do not read any
	closed    bool   // works without an open image
	writes    bool
	run       func(ctx context.Context, c *call) bool // says whether it worked; what did not has been printed
}

// commands makes the table, in the order of help.
func commands() []command {
	list := []command{
		{name: "abort", summary: "simulate a program crash using abort(3)", letters: "-", closed: true, run: abort},
		{name: "aio_flush", summary: "completes all outstanding aio requests", letters: "-", run: aioFlush},
		{
			name: "aio_read", args: "[-Ciqv] [-P pattern] off len [len..]", summary: "asynchronously reads a number of bytes",
			min: 2, max: -1, letters: "CP:iqv", run: aioRead, long: aioReadHelp,
		},
		{
			name: "aio_write", args: "[-Cfiquz] [-P pattern] off len [len..]", summary: "asynchronously writes a number of bytes",
			min: 2, max: -1, letters: "CfiP:quz", writes: true, run: aioWrite, long: aioWriteHelp,
		},
		{name: "alloc", alt: "a", args: "offset [count]", summary: "checks if offset is allocated in the file", min: 1, max: 2, letters: "-", run: alloc},
		{name: "break", args: "event tag", summary: "sets a breakpoint on event and tags the stopped request as tag", min: 2, max: 2, letters: "-", run: setBreak},
		{name: "close", alt: "c", summary: "close the current open file", letters: "-", run: closeImage},
		{
			name: "discard", alt: "d", args: "[-Cq] off len", summary: "discards a number of bytes at a specified offset",
			min: 2, max: -1, letters: "Cq", writes: true, run: discard, long: discardHelp,
		},
		{name: "flush", alt: "f", summary: "flush all in-core file state to disk", letters: "-", run: flush},
		{name: "help", alt: "?", args: "[command]", summary: "help for one or all commands", max: 1, letters: "-", closed: true, run: help},
		{name: "info", alt: "i", summary: "prints information about the current file", letters: "-", run: info},
		{name: "length", alt: "l", summary: "gets the length of the current file", letters: "-", run: length},
		{name: "map", summary: "prints the allocated areas of a file", letters: "-", run: mapImage},
		{
			name: "open", alt: "o", args: "[-rsCnkU] [-t cache] [-d discard] [-o options] [path]", summary: "open the file specified by path",
			min: 1, max: -1, letters: "snCro:ki:t:d:U", closed: true, run: openImage, long: openHelp,
		},
		{name: "quit", alt: "q", summary: "exit the program", max: -1, letters: "-", closed: true, run: quit},
		{
			name: "read", alt: "r", args: "[-abCqv] [-P pattern [-s off] [-l len]] off len", summary: "reads a number of bytes at a specified offset",
			min: 2, max: -1, letters: "bCl:pP:qs:v", run: read, long: readHelp,
		},
		{
			name: "readv", args: "[-Cqv] [-P pattern] off len [len..]", summary: "reads a number of bytes at a specified offset",
			min: 2, max: -1, letters: "CP:qv", run: readv, long: readvHelp,
		},
		{name: "remove_break", args: "tag", summary: "remove a breakpoint by tag", min: 1, max: 1, letters: "-", run: removeBreak},
		{
			name: "reopen", args: "[(-r|-w)] [-c cache] [-o options]", summary: "reopens an image with new options",
			max: -1, letters: "c:o:rw", run: reopen, long: reopenHelp,
		},
		{name: "resume", args: "tag", summary: "resumes the request tagged as tag", min: 1, max: 1, letters: "-", run: resume},
		{name: "sigraise", args: "signal", summary: "raises a signal", min: 1, max: 1, letters: "-", closed: true, run: sigraise, long: sigraiseHelp},
		{name: "sleep", summary: "waits for the given value in milliseconds", min: 1, max: 1, letters: "-", closed: true, run: sleep},
		{
			name: "truncate", alt: "t", args: "[-m prealloc_mode] off", summary: "truncates the current file at the given offset",
			min: 1, max: 3, letters: "m:", writes: true, run: truncate,
		},
		{name: "wait_break", args: "tag", summary: "waits for the suspension of a request", min: 1, max: 1, letters: "-", run: waitBreak},
		{
			name: "write", alt: "w", args: "[-bcCfnquz] [-P pattern | -s source_file] off len", summary: "writes a number of bytes at a specified offset",
			min: 2, max: -1, letters: "bcCfnpP:qs:uz", writes: true, run: write, long: writeHelp,
		},
		{
			name: "writev", args: "[-Cfq] [-P pattern] off len [len..]", summary: "writes a number of bytes at a specified offset",
			min: 2, max: -1, letters: "CfqP:", writes: true, run: writev, long: writevHelp,
		},
	}
	return list
}

// oneLine is how help shows a command.
func (cmd *command) oneLine() string {
	if cmd.args == "" && cmd.name != "map" {
		return fmt.Sprintf("%s -- %s\n", cmd.name, cmd.summary)
	}
	return fmt.Sprintf("%s %s -- %s\n", cmd.name, cmd.args, cmd.summary)
}

func (s *session) lookup(name string) *command {
	for i := range s.table {
		if cmd := &s.table[i]; cmd.name == name || cmd.alt != "" && cmd.alt == name {
			return cmd
		}
	}
	return nil
}

// call is a command as it was given.
type call struct {
	s     *session
	cmd   *command
	found []getopt.Found
	args  []string // operands
}

// has reports whether an option was given.
func (c *call) has(letter string) bool {
	_, ok := c.value(letter)
	return ok
}

// value returns what an option was given, the last time.
func (c *call) value(letter string) (string, bool) {
	for _, f := range slices.Backward(c.found) {
		if f.Option.Short == letter {
			return f.Value, true
		}
	}
	return "", false
}

// usage reminds of how the command is called; it is a failure.
func (c *call) usage() bool {
	c.printf("%s", c.cmd.oneLine())
	return false
}

// execute runs a line and reports whether it worked.
func (s *session) execute(ctx context.Context, line string) bool {
	words := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' })
	if len(words) == 0 {
		return true
	}
	cmd := s.lookup(words[0])
	switch {
	case cmd == nil:
		s.eprintf("command \"%s\" not found\n", words[0])
		return false
	case !cmd.closed && s.ref == nil:
		s.eprintf("no file open, try 'help open'\n")
		return false
	case !s.countArgs(cmd, words[0], len(words)-1):
		return false
	case cmd.writes && !s.ref.Writable():
		s.errorf("%s", s.readOnlyReason())
		return false
	}
	c := &call{s: s, cmd: cmd, args: words[1:]}
	if cmd.letters != "-" {
		var err error
		if c.found, c.args, err = getopt.Parse(letterTable(cmd.letters), getopt.Style{}, words[1:]); err != nil {
			s.eprintf("%s: %v\n", words[0], err)
			return c.usage()
		}
	}
	return cmd.run(ctx, c)
}

func (s *session) countArgs(cmd *command, name string, n int) bool {
	if n >= cmd.min && (cmd.max < 0 || n <= cmd.max) {
		return true
	}
	expected := fmt.Sprintf("between %d and %d", cmd.min, cmd.max)
	switch {
	case cmd.max < 0:
		expected = fmt.Sprintf("at least %d", cmd.min)
	case cmd.min == cmd.max:
		expected = fmt.Sprint(cmd.min)
	}
	s.eprintf("bad argument count %d to %s, expected %s arguments\n", n, name, expected)
	return false
}

// letterTable makes a table of the options that letters name.
func letterTable(letters string) []getopt.Option {
	var table []getopt.Option
	for i, l := range letters {
		if l == ':' {
			continue
		}
		o := getopt.Option{Short: string(l)}
		if strings.HasPrefix(letters[i+1:], ":") {
			o.Arg = "VALUE"
		}
		table = append(table, o)
	}
	return table
}
