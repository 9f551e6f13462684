package main

import (
	"encoding/json"
	"testing"

	"github.com/blkbench/blkbench/nvme/nvmetest"
)

// run measures a controller on a vfio-user socket, writes to it and verifies; writing needs the serial number.
func TestRunOnVFIOUser(t *testing.T) {
	f, err := nvmetest.New(nvmetest.Config{Serial: "RUNSERIAL", Namespaces: []nvmetest.NamespaceConfig{{Blocks: 4096, BlockSize: 512}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Stop)
	dir := t.TempDir()
	s, err := f.Serve(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	target := "--filename=nvme+vfio-user://" + dir + "/1"
	r := runAs(t, "blkbench", dir, "run", "--name=x", target, "--rw=randread", "--bs=512", "--iodepth=8", "--number_ios=500", "--output-format=json").want(t, 0)
	var report struct {
		Jobs []struct {
			Read struct {
				TotalIOs int64 `json:"total_ios"`
			} `json:"read"`
		} `json:"jobs"`
	}
	if err := json.Unmarshal([]byte(r.out), &report); err != nil || len(report.Jobs) != 1 || report.Jobs[0].Read.TotalIOs != 500 {
		t.Errorf("%v: %s", err, r.out)
	}
	verify := []string{"run", "--name=x", target, "--rw=randwrite", "--bs=4k", "--iodepth=8", "--verify=crc32c"}
	if r := runAs(t, "blkbench", dir, verify...); r.code == 0 {
		t.Errorf("written to without its name: %s", r.out)
	}
	runAs(t, "blkbench", dir, append(verify, "--allow-destroy=RUNSERIAL")...).want(t, 0)
}
