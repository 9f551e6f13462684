package bench

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/bench/internal/fiotest"
)

// both runs the same keys by fio and by us, each in a folder of its own, and returns requests and bytes by direction.
func both(t *testing.T, args ...string) (ours, fios [3][2]uint64) {
	t.Helper()
	theirs := fiotest.Run(t, args...)
	t.Chdir(t.TempDir())
	o := runFiles(t, nil, args...).must(t)
	for d, name := range []string{"read", "write", "trim"} {
		for i := range o.Jobs {
			ours[d][0] += o.Jobs[i].Dir[d].IOs
			ours[d][1] += o.Jobs[i].Dir[d].Bytes
		}
		jobs, _ := theirs.JSON["jobs"].([]any)
		for _, j := range jobs {
			dir, _ := j.(map[string]any)[name].(map[string]any)
			ios, _ := dir["total_ios"].(float64)
			bytes, _ := dir["io_bytes"].(float64)
			fios[d][0] += uint64(ios)
			fios[d][1] += uint64(bytes)
		}
	}
	return ours, fios
}

func TestInteropSameWorkAsFio(t *testing.T) {
	for _, args := range [][]string{
		{"--name=a", "--rw=write", "--size=1M", "--bs=4k", "--fsync=16"},
		{"--name=a", "--rw=randwrite", "--size=1M", "--bs=16k", "--loops=3", "--nrfiles=4"},
		{"--name=a", "--rw=read", "--size=1000000", "--bs=4k"},
		{"--name=a", "--rw=read", "--size=1M", "--io_size=300k", "--bs=8k", "--offset=128k"},
		{"--name=a", "--rw=read:4k", "--size=1M", "--bs=4k", "--number_ios=100"},
		{"--name=a", "--rw=randrw", "--size=1M", "--bs=4k,8k", "--rwmixread=100"},
		{"--name=a", "--rw=randwrite", "--size=1M", "--bs=4k", "--verify=crc32c", "--numjobs=2"},
		{"--name=a", "--rw=write", "--size=1M", "--bs=64k", "--zonemode=strided", "--zonesize=128k", "--zonerange=256k", "--io_size=512k"},
		{"--name=a", "--rw=write", "--filesize=256k", "--nrfiles=3", "--openfiles=1", "--file_service_type=sequential", "--bs=4k"},
		{"--name=a", "--rw=read", "--size=1M", "--offset_increment=256k", "--numjobs=3", "--bs=4k", "--name=b", "--stonewall", "--rw=randread", "--size=512k"},
	} {
		if ours, fios := both(t, args...); ours != fios {
			t.Errorf("%s:\n%v requests and bytes, with fio\n%v", strings.Join(args, " "), ours, fios)
		}
	}
}

func TestInteropMixesAsFio(t *testing.T) {
	for _, args := range [][]string{
		{"--rw=randrw", "--rwmixread=70"}, {"--rw=rw", "--rwmixwrite=20"}, {"--rw=randrw", "--bssplit=4k/60:64k/40"},
	} {
		args = append([]string{"--name=a", "--ioengine=null", "--size=100G", "--number_ios=300000", "--norandommap"}, args...)
		ours, fios := both(t, args...)
		share := func(v [3][2]uint64, k int) float64 { return 100 * float64(v[0][k]) / float64(v[0][k]+v[1][k]) }
		for k, what := range []string{"requests", "bytes"} {
			if a, b := share(ours, k), share(fios, k); math.Abs(a-b) > 0.5 {
				t.Errorf("%v: %.2f %% of %s are reads, with fio %.2f %%", args, a, what, b)
			}
		}
	}
}

// TestInteropExamples runs job files that come with fio, made small, by both.
func TestInteropExamples(t *testing.T) {
	const folder = "/usr/share/doc/fio/examples"
	if _, err := os.Stat(folder); err != nil {
		if os.Getenv("BLKBENCH_REQUIRE_PEERS") == "1" {
			t.Fatal("requires fio-examples")
		}
		t.Skip("requires fio-examples")
	}
	for name, change := range map[string][]string{
		"backwards-read.fio": {"128m", "1m"},
		"basic-verify.fio":   {"filename=/dev/XXX", "filename=x\nsize=1m"},
		"fsx.fio":            {"500000", "5", "rw=randrw", "rw=randwrite"},
		"fio-rand-write.fio": {"10G", "1M", "time_based", "", "runtime=900", ""},
		"fio-seq-read.fio":   {"10G", "1M", "time_based", "", "runtime=900", ""},
	} {
		b, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(strings.NewReplacer(change...).Replace(string(b))), 0o600); err != nil {
			t.Fatal(err)
		}
		if ours, fios := both(t, file); ours != fios {
			t.Errorf("%s:\n%v requests and bytes, with fio\n%v", name, ours, fios)
		}
	}
}
