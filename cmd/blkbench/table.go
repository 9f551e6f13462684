package main

import (
	"slices"
	"strings"

	"github.com/blkbench/blkbench/bench/fiojob"
)

// The table of verbs. It is filled at the start of the program, since the verbs' functions refer to it.
func verbTable() []verb {
	return slices.Concat([]verb{
		{
			name: "run", link: "fio", summary: "measures files, block devices and every other target", usage: "[JOBFILE…] [--key=value…]",
			long: runLong, flags: runFlags, run: runRun,
		},
		{
			name: "record", summary: "runs a verb and records its requests to a trace", usage: "TRACE VERB [ARGUMENT…]",
			long: recordLong, run: runRecord,
		},
		{
			name: "replay", summary: "does the requests of a trace again", usage: "TRACE TARGET [--speed=1|max|FACTOR]",
			long: replayLong, flags: flagsOf(&replayArgs{}), run: runReplay,
		},
		{
			name: "report", summary: "shows results that run or fio wrote as JSON", usage: "FILE [--html=FILE] [--format=FORMAT]",
			flags: flagsOf(&reportArgs{}), run: runReport,
		},
		{
			name: "nvme", link: "nvme", summary: "shows, binds and manages NVMe controllers", usage: "SUB-COMMAND [DEVICE] [--key=value…]",
			long: nvmeLong, flags: nvmeFlags, run: runNVMe,
		},
		{
			name: "img", link: "qemu-img", summary: "the image tools as one program", usage: "SUB-COMMAND [options]",
			long: imgLong, flags: imgFlags, run: runImg,
		},
		{
			name: "io", link: "qemu-io", summary: "reads, writes and examines an image by commands", usage: "[options] [-c COMMAND]… [IMAGE]",
			long: ioLong, flags: ioFlags, run: runIO,
		},
		{
			name: "nbd", link: "qemu-nbd", summary: "serves images to NBD clients", usage: "[options] IMAGE…",
			long: nbdLong, flags: nbdFlags, run: runNBD,
		},
		{
			name: "inspect", summary: "judges an image that a stranger made", usage: "[-f FORMAT] [--output=json] IMAGE",
			long: inspectLong, flags: inspectFlags, run: runInspect,
		},
	}, imgVerbs(), []verb{
		{name: "probe", summary: "what this kernel's io_uring offers", usage: "", run: runProbe},
		{name: "version", summary: "the version and the facts of the build", usage: "[-v]", run: runVersion},
		{name: "man", summary: "writes the manual page to the standard output", usage: "> blkbench.1", run: runMan},
		{name: "completion", summary: "writes a completion script", usage: "bash|zsh|fish", run: runCompletion},
	})
}

const runLong = `Without any argument a quick preset measures the file system of the current folder: sequential and random writing and reading of a
temporary file, about 20 s, removed afterwards.

Otherwise it takes what fio takes: job files, and every key of a job as a flag (--rw=randread or --rw randread). --name starts a job; keys before
the first --name hold for all. A target is a path, a block device, null-co://, or a graph (driver=…,file.driver=… or json:{…}).

A key that is known and not supported is refused by name, as is an unknown one; --lenient makes that a warning. Block devices are written
to only when they are named by --allow-destroy; mounted ones, swap and the root device never are.

Ctrl-C ends the measurement and prints the report of what was measured; SIGUSR1 prints the state.`

// runFlags documents the run's own options and the job keys, from the tables that parse them.
func runFlags() []flagDoc {
	var docs []flagDoc
	for _, o := range fiojob.RunOptionTable() {
		if o.Status != fiojob.Refused {
			docs = append(docs, flagDoc{name: "--" + o.Name, arg: o.Arg, help: o.Help, group: "options of the run"})
		}
	}
	for _, o := range fiojob.Options() {
		if o.Status != fiojob.Refused {
			docs = append(docs, flagDoc{name: "--" + o.Name, arg: keyArg(o), help: o.Help, group: "keys of a job"})
		}
	}
	return docs
}

func keyArg(o *fiojob.Option) string {
	if o.Bare() {
		return ""
	}
	return strings.ToUpper(o.Kind.String())
}
