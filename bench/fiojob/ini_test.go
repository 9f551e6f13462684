package fiojob

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestSections(t *testing.T) {
	plan := parse(t,
		"; a comment", "# another",
		"[global]", "bs=8k", "  rw = randread  ; behind a value", "",
		"[one]", "iodepth =4", "\tsize= 1m\r",
		"[global]", "bs=16k",
		"[two words]", "time_based", "runtime=1",
	)
	if len(plan.Jobs) != 2 {
		t.Fatalf("%d jobs", len(plan.Jobs))
	}
	one, two := plan.Jobs[0], plan.Jobs[1]
	if one.Name != "one" || one.Block.Size[Read].Min != 8192 || one.Depth.IODepth != 4 || one.Files.Size.Bytes != 1<<20 || one.RW.Kind != RandRead {
		t.Errorf("one: %+v", one)
	}
	if two.Name != "two words" || two.Block.Size[Read].Min != 16384 || two.Depth.IODepth != 1 || !two.Time.TimeBased {
		t.Errorf("two: %+v", two)
	}
	if got := fmt.Sprint(one.Options, one.Globals, two.Globals); got != "[{iodepth 4 false} {size 1m false}] [{bs 8k false} {rw randread false}] [{bs 8k false} {rw randread false} {bs 16k false}]" {
		t.Error(got)
	}
}

func TestErrorsHavePlaces(t *testing.T) {
	_, err := ParseFile("d/t.fio", strings.NewReader("[a]\nbs=4k\n  iodepth = 0\nfoo=1\n[b]\nrw=raed\n"), world(nil, nil))
	want := []string{
		"d/t.fio:3:13: [a] iodepth: \"0\": below the minimum 1",
		"d/t.fio:4:1: [a] foo: unknown key; did you mean flow?",
		"d/t.fio:6:4: [b] rw: \"raed\": unknown choice \"raed\"; did you mean read?",
	}
	if err == nil || err.Error() != strings.Join(want, "\n") {
		t.Errorf("errors are\n%v\nwant\n%s", err, strings.Join(want, "\n"))
	}
}

func TestSyntaxErrors(t *testing.T) {
	tests := []struct{ text, want string }{
		{"bs=4k\n[a]", "t.fio:1:1: \"bs=4k\" stands before the first [section]"},
		{"include x\n[a]", "include stands before"},
		{"[a", "t.fio:1:1: the ] of the section is missing"},
		{"[]", "the section has no name"},
		{"[a] rw=read", "t.fio:1:4: \" rw=read\" stands behind the section's name"},
		{"[a]\nbs=4k\x00", "t.fio:2:6: [a] zero byte"},
		{"[global]\nbs=4k", "no section but [global]"},
		{"", "no jobs"},
		{"[a]\ninclude", "t.fio:2:1: [a] include names no file"},
	}
	for _, tt := range tests {
		failing(t, ErrSyntax, tt.want, tt.text)
	}
	failing(t, ErrLimit, "line longer", "[a]\ndescription="+strings.Repeat("x", maxLine))
	failing(t, ErrLimit, "more than 16384 sections", strings.Repeat("[a]\n", maxSections+1))
	failing(t, ErrRead, "larger than", strings.Repeat(" ", maxFile+1))
}

func TestSectionNamesWithBrackets(t *testing.T) {
	if name := parse(t, "[a[0] ]").Jobs[0].Name; name != "a[0] " {
		t.Errorf("name %q", name)
	}
}

func TestGlobalPrefixIsGlobal(t *testing.T) {
	plan := parse(t, "[globals]", "bs=8k", "[a]")
	if len(plan.Jobs) != 1 || plan.Jobs[0].Block.Size[Read].Min != 8192 || len(plan.Warnings) != 1 {
		t.Errorf("%d jobs, warnings %q", len(plan.Jobs), plan.Warnings)
	}
}

func TestBackslashDoesNotContinue(t *testing.T) {
	plan := parse(t, "[a]", `description=one \`, "bs=8k")
	if len(plan.Warnings) != 1 || plan.Jobs[0].Block.Size[Read].Min != 8192 {
		t.Errorf("warnings %q, job %+v", plan.Warnings, plan.Jobs[0])
	}
}

func TestVariablesAndKeywords(t *testing.T) {
	env := world(nil, map[string]string{"SIZE": "64m", "N": "2", "EMPTY": ""})
	text := strings.Join([]string{
		"[a]", "size=${SIZE}", "numjobs=${N}${N}", "bs=2*$pagesize", "io_size=$mb_memory", "iodepth=$ncpus", "filename=/d/$ncpus-${N}",
		"offset=(3*$pagesize)", "description=${EMPTY}x${",
	}, "\n")
	plan, err := ParseFile("t.fio", strings.NewReader(text), env)
	if err != nil {
		t.Fatal(err)
	}
	j := plan.Jobs[0]
	if j.Files.Size.Bytes != 64<<20 || j.NumJobs != 22 || j.Block.Size[Read].Min != 8192 || j.Files.IOSize.Bytes != 24000 || j.Depth.IODepth != 2 ||
		j.Files.Names[0] != "/d/2-2" || j.Files.Offset.Bytes != 12288 || j.Description != "x${" {
		t.Errorf("%+v", j)
	}
	if got := fmt.Sprint(j.Options[:3]); got != "[{size 64m false} {numjobs 22 false} {bs 8192 false}]" {
		t.Error(got)
	}
	_, err = ParseFile("t.fio", strings.NewReader("[a]\nrw=${RW}\n"), env)
	wantError(t, err, ErrValue, "not set in the environment: RW", "rw=${RW}")
	big := world(nil, map[string]string{"BIG": strings.Repeat("x", maxValue)})
	_, err = ParseFile("t.fio", strings.NewReader("[a]\ndescription=${BIG}${BIG}${BIG}\n"), big)
	wantError(t, err, ErrValue, "longer than", "${BIG}")
}

func TestInclude(t *testing.T) {
	files := map[string]string{
		"d/common.fio":   "thread=1\ninclude sub/deep.fio\n",
		"d/sub/deep.fio": "bs=8k ; deep\n",
		"cwd.fio":        "iodepth=4",
		"/etc/x":         "iodepth=8",
		"d/loop.fio":     "include loop.fio\n",
		"d/section.fio":  "[b]\n",
		"d/bad.fio":      "bs=0\n",
		"d/pat":          "hello",
	}
	env := world(files, nil)
	read := func(run RunOptions, lines ...string) (*Plan, error) {
		return ParseFileWith(run, "d/t.fio", strings.NewReader(strings.Join(lines, "\n")), env)
	}
	plan, err := read(RunOptions{}, "[global]", "include common.fio", "[a]", "include=common.fio", "buffer_pattern='pat'")
	if err != nil {
		t.Fatal(err)
	}
	if j := plan.Jobs[0]; j.Block.Size[Read].Min != 8192 || string(j.Buffer.Pattern.Bytes) != "hello" || len(j.Globals) != 2 {
		t.Errorf("%+v", j)
	}
	for _, line := range []string{"include ../t.fio", "include /etc/x", "include cwd.fio", "buffer_pattern='/etc/x'"} {
		_, err := read(RunOptions{}, "[a]", line)
		wantError(t, err, ErrPermission, "--allow-include", line)
	}
	for line, depth := range map[string]int{"include /etc/x": 8, "include cwd.fio": 4} {
		plan, err := read(RunOptions{AllowInclude: true}, "[a]", line)
		if err != nil || plan.Jobs[0].Depth.IODepth != depth {
			t.Errorf("%s: %v", line, err)
		}
	}
	_, err = read(RunOptions{}, "[a]", "include loop.fio")
	wantError(t, err, ErrLimit, "nested more than 16 deep", "loop")
	_, err = read(RunOptions{}, "[a]", "include section.fio")
	wantError(t, err, ErrSyntax, "d/section.fio:1:1: [a] an included file has no sections", "section")
	_, err = read(RunOptions{}, "[a]", "include bad.fio")
	wantError(t, err, ErrValue, "d/bad.fio:1:4: [a] bs", "bad")
	_, err = read(RunOptions{}, "[a]", "include none.fio")
	wantError(t, err, ErrPermission, "include none.fio: needs permission: not in d,", "none")
}

// FuzzJobFile looks for job files that crash, hang, or turn into jobs that break
// what Job promises.
func FuzzJobFile(f *testing.F) {
	for _, seed := range []string{
		"[global]\nrw=randrw:8\nbs=4k,8k,\nbssplit=4k/50:8k/\n[a]\nsize=50%\nnumjobs=3\n",
		"[a]\nverify=crc32c\nverify_interval=512\nverify_offset=64\nbsrange=4k-64k,8k-8k\nnorandommap\n",
		"[a]\nrandom_distribution=zoned:60/10:40/\nrw=randread\n[b]\nwait_for=a\nstonewall\n",
		"[a]\nrate=1m,,500k\nthinktime=1ms\nthinktime_spin=(2*3)\nlatency_target=10ms\n",
		"[a]\nioengine=io_uring\nhipri\nfixedbufs=1\niodepth=4\niodepth_batch=9\niodepth_low=2\n",
		"[a]\ninclude x\nfilename=a\\:b:c:json:{\"x\":1}\ndirectory=/x:/y\nnrfiles=3\n",
		"[a]\ncpus_allowed=0-3,7\nnuma_mem_policy=bind:0-1\nss=iops:1%\nss_dur=10\nignore_error=EAGAIN,5\n",
		"[a]\nbuffer_pattern=0xff%o\"abc\"'x'-1\nverify_pattern=%o0x12\nkb_base=1000\nsize=1m\n",
		"[global\n]a[\n=\n==\nbs\n", "[a]\nsize=(((1+2)^3)%4)k\nrw=read:-8k\n${X}=${Y}\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		env := world(map[string]string{"x": text}, map[string]string{"Y": "4k"})
		plan, err := ParseFile("t.fio", strings.NewReader(text), env)
		if err != nil {
			return
		}
		checkPlan(t, plan)
		if _, err := parseShown(plan, env); err != nil {
			t.Errorf("%q shows as %q, which is refused: %v", text, plan.ShowCmd("fio"), err)
		}
	})
}

// checkPlan asserts what a Job promises to those who run it.
func checkPlan(t *testing.T, plan *Plan) {
	t.Helper()
	for _, j := range plan.Jobs {
		d := j.Depth
		if d.IODepth < 1 || d.Batch < 1 || d.Batch > d.IODepth || d.Low < 1 || d.Low > d.IODepth || d.CompleteMin > d.CompleteMax || d.CompleteMax > d.IODepth {
			t.Errorf("%s: depth %+v", j.Name, d)
		}
		for dir := Read; dir <= Trim; dir++ {
			b := j.Block.Size[dir]
			if b.Min < 1 || b.Max < b.Min || j.Block.Align[dir] < 1 {
				t.Errorf("%s: %s blocks %+v, aligned %d", j.Name, dir, b, j.Block.Align[dir])
			}
			sum := 0
			for _, w := range b.Split {
				sum += w.Percent
			}
			if len(b.Split) > 0 && sum != 100 {
				t.Errorf("%s: %s split %+v", j.Name, dir, b.Split)
			}
		}
		if j.RW.Kind&(reads|writes|trims) == 0 || j.RW.Every < 1 || j.RW.ReadPercent < 0 || j.RW.ReadPercent > 100 || j.NumJobs < 1 || j.Time.Loops < 1 {
			t.Errorf("%s: %+v %d %+v", j.Name, j.RW, j.NumJobs, j.Time)
		}
		if j.Files.Count < 1 || j.Files.Open < 1 || j.Files.Open > j.Files.Count {
			t.Errorf("%s: files %+v", j.Name, j.Files)
		}
		if v := j.Verify; v.Kind != VerifyNone && v.Interval < 1 {
			t.Errorf("%s: verify %+v", j.Name, v)
		}
	}
	for i, j := range plan.Expand() {
		if j.Files.Count > 1000 {
			continue
		}
		if j.Thread != i+1 || len(j.FileNames(nil)) == 0 && len(j.Replay.Logs) == 0 && j.Files.OpenDir == "" {
			t.Errorf("%s: thread %d, files %q", j.Name, j.Thread, j.FileNames(nil))
		}
		if i > 64 {
			break
		}
	}
}

// parseShown reads back what ShowCmd writes, line by line.
func parseShown(plan *Plan, env Env) (*Plan, error) {
	var last *Plan
	for line := range strings.Lines(plan.ShowCmd("fio")) {
		args, err := shellWords(line)
		if err != nil {
			return nil, err
		}
		if last, err = ParseArgs(args[1:], env); err != nil {
			return last, err
		}
	}
	return last, nil
}

// shellWords splits a line as a shell does, as far as ShowCmd quotes.
func shellWords(line string) ([]string, error) {
	var words []string
	var b strings.Builder
	in, quote := false, byte(0)
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			b.WriteByte(c)
		case c == '\'' || c == '"':
			quote, in = c, true
		case c == '\\':
			i++
			b.WriteByte(line[i])
		case c == ' ' || c == '\n':
			if in {
				words = append(words, b.String())
				b.Reset()
				in = false
			}
		default:
			b.WriteByte(c)
			in = true
		}
	}
	if quote != 0 {
		return nil, io.ErrUnexpectedEOF
	}
	return words, nil
}
