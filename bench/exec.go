package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/blkbench/blkbench/bench/fiojob"
)

// command runs exec_prerun or exec_postrun by the shell, where that was allowed; what it prints goes to JOB.prerun.txt or JOB.postrun.txt
// in the folder for state files, as with fio.
func (r *run) command(j *fiojob.Job, line, when string) error {
	if line == "" {
		return nil
	}
	if !r.cfg.Plan.Run.AllowExec {
		return fmt.Errorf("%s: exec_%s runs a command: --allow-exec lets it", j.Name, when)
	}
	out, err := os.Create(filepath.Join(r.cfg.Plan.Run.AuxPath, filepath.Base(j.Name)+"."+when+".txt"))
	if err != nil {
		return fmt.Errorf("%s: exec_%s: %w", j.Name, when, err)
	}
	defer out.Close()
	c := exec.CommandContext(r.ctx, "/bin/sh", "-c", line)
	c.Stdout, c.Stderr = out, out
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: exec_%s %q: %w", j.Name, when, line, err)
	}
	return nil
}
