package inspectcmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/blkbench/blkbench/cmd/blkbench/imgcmd"
	"github.com/blkbench/blkbench/cmd/blkbench/iocmd"
	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/formats/qcow2"
	"github.com/blkbench/blkbench/formats/raw"
	"github.com/blkbench/blkbench/protocols/file"
)

// specimen is an image that means harm.
type specimen struct {
	name   string
	code   string // a finding that inspect must have
	forge  func(b []byte)
	length int64 // the file is made this long, without blocks; 0: as it is
	heavy  bool  // what it holds is large, and not converted here
}

// Where forge finds things in the image that it starts from: version 3, clusters of 64 KiB, one of them mapped.
const (
	clusterSize = 64 << 10
	atRefTable  = 1 * clusterSize
	atRefBlock  = 2 * clusterSize
	atL1        = 3 * clusterSize
	atL2        = 4 * clusterSize
	atData      = 5 * clusterSize
	imageEnd    = 6 * clusterSize
	headerLen   = 112
)

// innocent is a whole image of 1 MiB whose first cluster is data.
func innocent() []byte {
	b := make([]byte, imageEnd)
	be.PutUint32(b, qcow2.Magic)
	be.PutUint32(b[4:], 3)
	be.PutUint32(b[20:], 16)
	be.PutUint64(b[24:], 1<<20)
	be.PutUint32(b[36:], 1)
	be.PutUint64(b[40:], atL1)
	be.PutUint64(b[48:], atRefTable)
	be.PutUint32(b[56:], 1)
	be.PutUint32(b[96:], 4)
	be.PutUint32(b[100:], headerLen)
	be.PutUint64(b[atRefTable:], atRefBlock)
	for i := range imageEnd / clusterSize {
		be.PutUint16(b[atRefBlock+2*i:], 1)
	}
	be.PutUint64(b[atL1:], 1<<63|atL2)
	be.PutUint64(b[atL2:], 1<<63|atData)
	copy(b[atData:], "data")
	return b
}

func (h *specimen) image() []byte {
	b := innocent()
	h.forge(b)
	return b
}

func backing(name string) func(b []byte) {
	return func(b []byte) {
		be.PutUint64(b[8:], 512)
		be.PutUint32(b[16:], uint32(len(name)))
		copy(b[512:], name)
	}
}

// extension puts a header extension where the first one belongs.
func extension(b []byte, typ uint32, data string) {
	be.PutUint32(b[headerLen:], typ)
	be.PutUint32(b[headerLen+4:], uint32(len(data)))
	copy(b[headerLen+8:], data)
}

// hostile is one specimen of every class, and more.
func hostile() []specimen {
	return []specimen{
		{name: "an L1 of 32 GiB", code: "header", forge: func(b []byte) { be.PutUint32(b[36:], 1<<32-1) }},
		{name: "an L1 of 32 MiB in a hole", code: "overlap", forge: func(b []byte) { be.PutUint32(b[36:], 4<<20) }, length: 1 << 40},
		{name: "an L1 past the end", code: "truncated", forge: func(b []byte) { be.PutUint64(b[40:], 1<<50) }},
		{name: "a size of 8 EiB", code: "header", forge: func(b []byte) { be.PutUint64(b[24:], 1<<63-1) }},
		{name: "a size beyond all numbers", code: "size", forge: func(b []byte) { be.PutUint64(b[24:], 1<<64-1) }},
		{name: "refcounts of 2^31 bits", code: "header", forge: func(b []byte) { be.PutUint32(b[96:], 31) }},
		{name: "refcounts of 2^32-1 bits", code: "header", forge: func(b []byte) { be.PutUint32(b[96:], 1<<32-1) }},
		{name: "a refcount table of 256 TiB", code: "header", forge: func(b []byte) { be.PutUint32(b[56:], 1<<32-1) }},
		{name: "a refcount table of 8 MiB in a hole", code: "truncated", forge: func(b []byte) { be.PutUint32(b[56:], 128); be.PutUint64(b[48:], 1<<40) }},
		{name: "clusters of 2^31 bytes", code: "header", forge: func(b []byte) { be.PutUint32(b[20:], 31) }},
		{name: "clusters of one byte", code: "header", forge: func(b []byte) { be.PutUint32(b[20:], 0) }},
		{name: "a header longer than a cluster", code: "header", forge: func(b []byte) { be.PutUint32(b[100:], 1<<31) }},
		{name: "a backing file that is json", code: "reference", forge: backing(`json:{"driver":"file","filename":"/etc/passwd"}`)},
		{name: "a backing file that is absolute", code: "reference", forge: backing("/etc/passwd")},
		{name: "a backing file on the network", code: "reference", forge: backing("nbd://127.0.0.1:1/x")},
		{name: "a backing file that is the image", code: "reference", forge: backing("image")},
		{name: "a backing file's name that is too long", code: "header", forge: func(b []byte) { be.PutUint64(b[8:], 512); be.PutUint32(b[16:], 1<<31) }},
		{name: "a backing file's name outside", code: "header", forge: func(b []byte) { be.PutUint64(b[8:], 1<<40); be.PutUint32(b[16:], 10) }},
		{name: "a data file that is absolute", code: "reference", forge: func(b []byte) {
			be.PutUint64(b[72:], qcow2.IncompatDataFile)
			extension(b, qcow2.ExtDataFile, "/etc/passwd")
		}},
		{name: "a data file that is json", code: "reference", forge: func(b []byte) {
			be.PutUint64(b[72:], qcow2.IncompatDataFile)
			extension(b, qcow2.ExtDataFile, `json:{"driver":"file","filename":"/etc/passwd"}`)
		}},
		{name: "features that nobody knows", code: "feature", forge: func(b []byte) { be.PutUint64(b[72:], 1<<40) }},
		{name: "a corrupt image", code: "corrupt", forge: func(b []byte) { be.PutUint64(b[72:], qcow2.IncompatCorrupt) }},
		{name: "an L1 that is the header", code: "overlap", forge: func(b []byte) { be.PutUint64(b[40:], 0) }},
		{name: "an L1 that is the refcount table", code: "overlap", forge: func(b []byte) { be.PutUint64(b[40:], atRefTable) }},
		{name: "an L2 that is the L1", code: "overlap", forge: func(b []byte) { be.PutUint64(b[atL1:], 1<<63|atL1) }},
		{name: "a refcount block that is the refcount table", code: "overlap", forge: func(b []byte) { be.PutUint64(b[atRefTable:], atRefTable) }},
		{name: "data that is the L2", code: "overlap", forge: func(b []byte) { be.PutUint64(b[atL2:], 1<<63|atL2) }},
		{name: "data that is the header", code: "overlap", forge: func(b []byte) { be.PutUint64(b[atL2:], 1<<63|1<<62|1<<54) }},
		{name: "data that is not aligned", code: "alignment", forge: func(b []byte) { be.PutUint64(b[atL2:], 1<<63|atData|512) }},
		{name: "an L2 past the end", code: "truncated", forge: func(b []byte) { be.PutUint64(b[atL1:], 1<<63|1<<50) }},
		{name: "one L2 for everything", heavy: true, code: "overlap", forge: func(b []byte) {
			be.PutUint64(b[24:], 8192*512<<20)
			be.PutUint32(b[36:], 8192)
			for i := range 8192 {
				be.PutUint64(b[atL1+8*i:], 1<<63|atL2)
			}
		}},
		{name: "a bomb of compressed clusters", heavy: true, code: "amplification", forge: func(b []byte) {
			be.PutUint64(b[24:], 512<<20)
			for i := range 8192 {
				be.PutUint64(b[atL2+8*i:], 1<<62|atData)
			}
		}},
		{name: "65536 snapshots in nothing", code: "snapshot", forge: func(b []byte) {
			be.PutUint32(b[60:], 65536)
			be.PutUint64(b[64:], 1<<40)
		}},
		{name: "more snapshots than there may be", code: "header", forge: func(b []byte) {
			be.PutUint32(b[60:], 1<<32-1)
			be.PutUint64(b[64:], atData)
		}},
		{name: "a snapshot with an L1 of 32 GiB", code: "snapshot", forge: func(b []byte) {
			be.PutUint32(b[60:], 1)
			be.PutUint64(b[64:], atData)
			be.PutUint64(b[atData:], atL1)
			be.PutUint32(b[atData+8:], 1<<32-1)
		}},
		{name: "a snapshot with endless extra data", code: "snapshot", forge: func(b []byte) {
			be.PutUint32(b[60:], 1)
			be.PutUint64(b[64:], atData)
			be.PutUint32(b[atData+36:], 1<<32-1)
		}},
		{name: "an extension of 4 GiB", code: "header", forge: func(b []byte) { extension(b, 0x12345678, ""); be.PutUint32(b[headerLen+4:], 1<<32-1) }},
		{name: "8000 empty extensions", code: "extension", forge: func(b []byte) {
			for at := headerLen; at+8 <= clusterSize; at += 8 {
				be.PutUint32(b[at:], 0x12345678)
			}
		}},
		{name: "bitmaps of 64 GiB", code: "bitmap", forge: func(b []byte) {
			data := make([]byte, 24)
			be.PutUint32(data, 1<<16)
			be.PutUint64(data[8:], 1<<36)
			be.PutUint64(data[16:], atData)
			extension(b, qcow2.ExtBitmaps, string(data))
			be.PutUint64(b[88:], 1)
		}},
		{name: "a partition table in the header", code: "polyglot", forge: func(b []byte) { b[510], b[511] = 0x55, 0xaa }},
		{name: "a disk at its end", code: "polyglot", forge: func(b []byte) { copy(b[imageEnd-512:], "conectix") }},
	}
}

func (h *specimen) write(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, h.image(), 0o644); err != nil {
		t.Fatal(err)
	}
	if h.length > 0 {
		if err := os.Truncate(path, h.length); err != nil {
			t.Fatal(err)
		}
	}
}

func TestInnocent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	(&specimen{forge: func([]byte) {}}).write(t, path)
	if r := inspect(t, path); r.Verdict != Safe || *r.MappedSize != clusterSize {
		t.Fatalf("%+v", r)
	}
}

func TestHostileImagesAreSuspicious(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	for _, h := range hostile() {
		h.write(t, path)
		r := inspect(t, path)
		found := slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Code == h.code && f.Grave })
		if r.Verdict != Suspicious || !found || len(r.Findings) > 100 {
			t.Errorf("%s: %s, %+v, want %s", h.name, r.Verdict, r.Findings, h.code)
		}
	}
}

// asTool is set in a process that is to be the program.
const asTool = "BLKBENCH_TEST_AS_TOOL"

func TestMain(m *testing.M) {
	if verb := os.Getenv(asTool); verb != "" {
		registry := engine.NewRegistry(raw.Driver(), qcow2.Driver(), file.Driver())
		ctx := context.Background()
		switch verb {
		case "inspect":
			os.Exit(Run(ctx, &Env{Stdout: os.Stdout, Stderr: os.Stderr, Prog: "blkbench"}, os.Args[1:]))
		case "io":
			os.Exit(iocmd.Run(ctx, &iocmd.Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Prog: "blkbench", Registry: registry}, os.Args[1:]))
		}
		os.Exit(imgcmd.RunVerb(ctx, &imgcmd.Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Prog: "blkbench", Registry: registry}, verb, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// maxMemory is what a tool may take for any of these images, in KiB.
const maxMemory = 256 << 10

// TestHostileImagesHurtNoTool runs every tool that reads on every specimen: it ends, in bounded memory, with a word on what is wrong.
func TestHostileImagesHurtNoTool(t *testing.T) {
	if testing.Short() {
		t.Skip("one process for each tool and specimen")
	}
	verbs := map[string][]string{"inspect": nil, "io": {"-r", "-f", "qcow2", "-c", "map", "-c", "read -q 0 64k"}}
	// What follows references finds the image as its own backing file.
	verbs["io folder"] = append(slices.Clone(verbs["io"]), "--references=folder")
	verbs["io allow"] = append(slices.Clone(verbs["io"]), "--references=allow")
	for _, d := range imgcmd.Docs() {
		if slices.Contains([]string{"info", "check", "map", "measure"}, d.Name) {
			verbs[d.Name] = []string{"-f", "qcow2"}
		}
		if d.Name == "convert" {
			verbs[d.Name] = []string{"-f", "qcow2", "-O", "qcow2"}
		}
		if d.Name == "info" {
			verbs["info chain"] = []string{"-f", "qcow2", "--backing-chain", "--references=allow"}
		}
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "image")
	var slowest time.Duration
	slow := ""
	for _, h := range hostile() {
		h.write(t, path)
		for verb, args := range verbs {
			if strings.Contains(verb, " ") && h.code != "reference" {
				continue
			}
			operands := []string{path}
			if verb == "convert" {
				if h.heavy {
					continue
				}
				operands = append(operands, filepath.Join(dir, "target"))
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			cmd := exec.CommandContext(ctx, os.Args[0], append(slices.Clone(args), operands...)...)
			tool, _, _ := strings.Cut(verb, " ")
			cmd.Env = append(os.Environ(), asTool+"="+tool, "GOTRACEBACK=single")
			var out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			start := time.Now()
			err := cmd.Run()
			if took := time.Since(start); took > slowest {
				slowest, slow = took, verb+" of "+h.name
			}
			late := ctx.Err() != nil
			cancel()
			if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok || ok && exit.ExitCode() < 0 {
				t.Errorf("%s: %s: %v", h.name, verb, err)
			}
			usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
			what := fmt.Sprintf("%s: %s: %v, %d KiB\n%.2000s", h.name, verb, err, usage.Maxrss, errs.String())
			switch {
			case late:
				t.Errorf("does not end: %s", what)
			case strings.Contains(errs.String(), "goroutine "):
				t.Errorf("panics: %s", what)
			case usage.Maxrss > maxMemory:
				t.Errorf("takes too much memory: %s", what)
			case err != nil && errs.Len() == 0 && out.Len() == 0:
				t.Errorf("fails without a word: %s", what)
			}
		}
	}
	t.Logf("the slowest: %s, %v", slow, slowest)
}
