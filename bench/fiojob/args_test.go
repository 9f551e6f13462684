package fiojob

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// args reads a command line.
func args(t *testing.T, line string) *Plan {
	t.Helper()
	plan, err := ParseArgs(strings.Fields(line), world(map[string]string{
		"j.fio": "[global]\nbs=16k\n[j]\nrw=randread\nsize=1m\n",
		"k.fio": "[k]\nsize=2m\n[k2]\nsize=2m\n",
		"-":     "[in]\nsize=1m\n",
	}, map[string]string{"HOME": "/root"}))
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return plan
}

func names(plan *Plan) string {
	var list []string
	for _, j := range plan.Jobs {
		list = append(list, fmt.Sprintf("%s:%d", j.Name, j.Group))
	}
	return strings.Join(list, " ")
}

func TestBothWaysToGiveAValue(t *testing.T) {
	for _, line := range []string{
		"--name=a --rw=randwrite --bs=8k --direct=1 --size=1m --time_based --runtime=5",
		"--name a --rw randwrite --bs 8k --direct 1 --size 1m --time_based=1 --runtime 5",
		"-name=a -rw randwrite -bs=8k --direct --size=1m --time_b --runtime=5",
		"--name=a --readwrite=randwrite --blocksize=8k --direct 1 --size=1m --time_based --timeout=5s",
	} {
		j := args(t, line).Jobs[0]
		if j.Name != "a" || j.RW.Kind != RandWrite || j.Block.Size[Write].Min != 8192 || !j.RW.Direct || !j.Time.TimeBased || j.Time.Runtime != 5*time.Second {
			t.Errorf("%s: %+v", line, j)
		}
	}
}

func TestGlobalsAndNames(t *testing.T) {
	plan := args(t, "--bs=8k --size=1m --name=a --rw=write --name=b --name=global --bs=32k --name=c")
	if names(plan) != "a:0 b:0 c:0" {
		t.Error(names(plan))
	}
	for i, bs := range []int64{8192, 8192, 32768} {
		if got := plan.Jobs[i].Block.Size[Read].Min; got != bs {
			t.Errorf("%s: bs %d", plan.Jobs[i].Name, got)
		}
	}
	if plan.Jobs[0].RW.Kind != SeqWrite || plan.Jobs[1].RW.Kind != SeqRead {
		t.Error("rw of a went on to b")
	}
	if got := fmt.Sprint(plan.Jobs[0].Options); got != "[{name a false} {rw write false}]" {
		t.Error(got)
	}
}

func TestKeysWithoutAName(t *testing.T) {
	plan := args(t, "--rw=randread --size=1m")
	if names(plan) != "job1:0" || plan.Jobs[0].RW.Kind != RandRead {
		t.Errorf("%s %+v", names(plan), plan.Jobs)
	}
}

func TestNoArguments(t *testing.T) {
	if plan := args(t, ""); len(plan.Jobs) != 0 {
		t.Error(names(plan))
	}
}

func TestFilesAndFlagsMix(t *testing.T) {
	plan := args(t, "--bs=8k --name=a --size=1m j.fio k.fio")
	if names(plan) != "a:0 j:0 k:1 k2:1" {
		t.Error(names(plan))
	}
	if a, j, k := plan.Jobs[0], plan.Jobs[1], plan.Jobs[2]; a.Block.Size[Read].Min != 8192 || j.Block.Size[Read].Min != 16384 || k.Block.Size[Read].Min != 4096 {
		t.Error("globals: the command line's are for the first file, a file's for itself")
	}
	if !plan.Jobs[2].Order.Stonewall || plan.Jobs[1].Order.Stonewall || plan.Jobs[3].Order.Stonewall {
		t.Error("the first job of each further file waits")
	}
	if plan := args(t, "j.fio --section=j --iodepth=4"); plan.Jobs[0].Depth.IODepth != 4 || plan.Jobs[0].Block.Size[Read].Min != 16384 {
		t.Errorf("%+v", plan.Jobs[0])
	}
	if plan := args(t, "-"); names(plan) != "in:0" {
		t.Error(names(plan))
	}
	if plan := args(t, "--name=a --size=1m -- j.fio"); names(plan) != "a:0 j:0" {
		t.Error(names(plan))
	}
}

func TestSectionsAreChosen(t *testing.T) {
	if plan := args(t, "k.fio --section=k2"); names(plan) != "k2:0" {
		t.Error(names(plan))
	}
	_, err := ParseArgs([]string{"--section=zz", "--name=a", "--size=1m"}, world(nil, nil))
	wantError(t, err, ErrSyntax, "no job is called zz", "--section=zz")
}

func TestRunOptions(t *testing.T) {
	plan := args(t, `--output=o --output-format=normal,json+ --append-terse --terse-version=5 --status-interval 10 --eta=always --eta-interval=500ms
		--eta-newline=2 --bandwidth-log --max-jobs=7 --readonly --lenient --report=r.html --allow-destroy=/dev/x --allow-destroy /dev/y
		--allow-exec --allow-include --aux-path=/a -P -s --name=a --size=1m`)
	want := RunOptions{
		Output: "o", Formats: []string{"normal", "json+", "terse"}, TerseVersion: 5, StatusInterval: 10 * time.Second, ETA: "always",
		ETAInterval: 500 * time.Millisecond, ETANewline: 2 * time.Second, BandwidthLog: true, MaxJobs: 7, ReadOnly: true, Lenient: true,
		Report: "r.html", AllowDestroy: []string{"/dev/x", "/dev/y"}, AllowExec: true, AllowInclude: true, AuxPath: "/a", ParseOnly: true, ShowCmd: true,
	}
	if fmt.Sprint(plan.Run) != fmt.Sprint(want) {
		t.Errorf("%+v\nwant\n%+v", plan.Run, want)
	}
	for line, want := range map[string]RunOptions{
		"--help": {Help: true}, "-h": {Help: true}, "-v": {Version: true}, "--cmdhelp": {CmdHelp: "all"}, "--cmdhelp=bs": {CmdHelp: "bs"},
		"--enghelp": {EngHelp: "list"}, "--enghelp=nbd,uri": {EngHelp: "nbd,uri"}, "-ofile --help": {Output: "file", Help: true},
		"--minimal -h": {Formats: []string{"terse"}, Help: true},
	} {
		if plan := args(t, line); fmt.Sprint(plan.Run) != fmt.Sprint(want) {
			t.Errorf("%s: %+v", line, plan.Run)
		}
	}
}

func TestArgumentErrors(t *testing.T) {
	tests := []struct {
		line string
		kind error
		want string
	}{
		{"--nonexist", ErrUnknownKey, "argument 1: --nonexist: unknown option"},
		{"--iodpeth=4", ErrUnknownKey, "did you mean --iodepth?"},
		{"--name=x --out=foo", ErrUnknownKey, "argument 2: --out: could be --output, --output-format"},
		{"--time", ErrUnknownKey, "--timeout, --time_based"},
		{"--name=x --bs", ErrValue, "--bs: needs a value"},
		{"--name=x --bs --rw=read", ErrValue, "--bs: needs a value"},
		{"--output", ErrValue, "needs a value"},
		{"--help=1", ErrValue, "takes no value"},
		{"--name=x --bs=0", ErrValue, "argument 2: [x] bs: \"0\": below the minimum 1"},
		{"--client=host", ErrRefused, "--client: known to fio, not supported"},
		{"--server", ErrRefused, "not supported"},
		{"--idle-prof=percpu", ErrRefused, "not supported"},
		{"--section=global", ErrValue, "global is no job"},
		{"--terse-version=6", ErrValue, "from 2 to 5"},
		{"--eta-interval=100ms", ErrValue, "less than 250ms"},
		{"--output-format=xml", ErrValue, "unknown format"},
		{"none.fio", ErrRead, "none.fio: file does not exist"},
		{"- -", ErrRead, "read already"},
	}
	for _, tt := range tests {
		_, err := ParseArgs(strings.Fields(tt.line), world(map[string]string{"-": "[a]\nsize=1m\n"}, nil))
		wantError(t, err, tt.kind, tt.want, tt.line)
	}
}

func TestLenient(t *testing.T) {
	plan := args(t, "--client=h --foo=1 --lenient --name=a --size=1m --cgroup=x --ioengine=mmap --bogus --iodepth=2")
	j := plan.Jobs[0]
	if j.Engine.Kind != EngineAuto || j.Depth.IODepth != 2 || len(plan.Warnings) != 5 {
		t.Errorf("%+v, warnings %q", j, plan.Warnings)
	}
	for _, want := range []string{"--client", "--foo", "cgroup", "mmap", "--bogus"} {
		if !slices.ContainsFunc(plan.Warnings, func(w string) bool { return strings.Contains(w, want) && strings.HasSuffix(w, "ignored: --lenient") }) {
			t.Errorf("no warning of %s in %q", want, plan.Warnings)
		}
	}
}

func TestWarningsFatal(t *testing.T) {
	_, err := ParseArgs(strings.Fields("--warnings-fatal --name=a --size=1m --time_based"), world(nil, nil))
	wantError(t, err, ErrWarnings, "time_based needs a runtime", "--warnings-fatal")
}

func TestShellExpandsTheCommandLine(t *testing.T) {
	plan := args(t, "--name=a --size=2*$pagesize --filename=${HOME}/x")
	if j := plan.Jobs[0]; j.Files.Size.Bytes != 8192 || j.Files.Names[0] != "${HOME}/x" {
		t.Errorf("%+v", j.Files)
	}
}

func TestErrorListIsSearchable(t *testing.T) {
	_, err := ParseArgs([]string{"--name=a", "--bs=0", "--cgroup=x"}, world(nil, nil))
	var e *Error
	if !errors.As(err, &e) || e.Key != "bs" || !errors.Is(err, ErrRefused) || !IsUsage(err) {
		t.Errorf("%v", err)
	}
}

// FuzzArgs looks for command lines that crash or break what Job promises.
func FuzzArgs(f *testing.F) {
	for _, seed := range []string{
		"--name=a\n--rw\nrandread\n--bs=4k\n--size=1m", "--bs=8k\n--name=global\n-rw=read\n--name\nb\nj.fio\n--\n-x",
		"-o\nfile\n-P\n--eta=never\n--cmdhelp", "--lenient\n--foo\n--server\n--name=a\n--time_based\n--direct", "--\n-\n--=\n-\n--name=",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		env := world(map[string]string{"j.fio": "[j]\nsize=1m\n"}, nil)
		plan, err := ParseArgs(strings.Split(line, "\n"), env)
		if err == nil {
			checkPlan(t, plan)
		}
	})
}
