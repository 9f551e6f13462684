package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/result"
	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
	"github.com/blkbench/blkbench/protocols/nbd"
)

// TestJobsOverNBD runs jobs against a real server, named as fio does it and by file name: what is written is there for the next job, and is
// verified.
func TestJobsOverNBD(t *testing.T) {
	enginetest.Require(t, "nbdkit")
	dir, err := os.MkdirTemp("", "nbd") //nolint:usetesting // the name of a socket has to be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	sock, pid := filepath.Join(dir, "s"), filepath.Join(dir, "pid")
	if out, err := exec.Command("nbdkit", "-U", sock, "-P", pid, "memory", "4M").CombinedOutput(); err != nil {
		t.Fatalf("nbdkit: %v: %s", err, out)
	}
	defer func() {
		b, _ := os.ReadFile(pid)
		if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			_ = unix.Kill(n, unix.SIGTERM)
		}
	}()
	uri := "nbd+unix:///?socket=" + sock
	verify := []string{"--name=j", "--bs=4k", "--iodepth=16", "--size=2m", "--verify=crc32c", "--aux-path=" + t.TempDir()}
	for _, args := range [][]string{
		append(verify, "--ioengine=nbd", "--uri="+uri, "--rw=randwrite"),
		append(verify, "--filename="+uri, "--rw=read"),
	} {
		plan, err := fiojob.ParseArgs(args, fiojob.SystemEnv())
		if err != nil {
			t.Fatal(err)
		}
		res, err := Run(t.Context(), Config{Env: &engine.Env{Registry: engine.NewRegistry(nbd.Driver())}, Plan: plan, Version: "test"})
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		j := res.Jobs[0]
		if j.Error != 0 || j.Dir[result.Read].IOs != 512 || j.Targets[0].Driver != "nbd" {
			t.Errorf("%v: error %d %s, %d reads of %+v", args, j.Error, j.FirstError, j.Dir[result.Read].IOs, j.Targets)
		}
	}
}
