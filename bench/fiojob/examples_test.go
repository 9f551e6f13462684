package fiojob

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// refusedExamples are the job files of fio's examples that are not accepted, and
// the keys that are the reason. All others must be.
var refusedExamples = map[string]string{
	"cmdprio-bssplit.fio":         "cmdprio cmdprio_bssplit cmdprio_class",
	"cmdprio-percentage.fio":      "cmdprio_class cmdprio_percentage",
	"cpuio.fio":                   "ioengine=cpuio",
	"dedupe-global.fio":           "dedupe_global dedupe_mode=working_set dedupe_working_set_percentage",
	"dev-dax.fio":                 "ioengine=dev-dax",
	"dfs.fio":                     "ioengine=dfs",
	"e4defrag.fio":                "ioengine=e4defrag",
	"e4defrag2.fio":               "ioengine=e4defrag",
	"exec.fio":                    "ioengine=cpuio ioengine=exec",
	"falloc.fio":                  "ioengine=falloc",
	"filecreate-ioengine.fio":     "ioengine=filecreate",
	"filedelete-ioengine.fio":     "ioengine=filedelete",
	"filestat-ioengine.fio":       "ioengine=filestat",
	"ftruncate.fio":               "ioengine=ftruncate",
	"gfapi.fio":                   "ioengine=gfapi",
	"gpudirect-rdmaio-client.fio": "ioengine=rdma mem=cudamalloc",
	"gpudirect-rdmaio-server.fio": "ioengine=rdma mem=cudamalloc",
	"http-s3-crypto.fio":          "ioengine=http",
	"http-s3-storage-class.fio":   "ioengine=http",
	"http-s3.fio":                 "ioengine=http",
	"http-swift.fio":              "ioengine=http",
	"http-webdav.fio":             "ioengine=http",
	"ime.fio":                     "ioengine=ime_aio ioengine=ime_psync ioengine=ime_psyncv",
	"libcufile-cufile.fio":        "ioengine=libcufile",
	"libcufile-posix.fio":         "ioengine=libcufile",
	"libhdfs.fio":                 "ioengine=libhdfs",
	"libpmem.fio":                 "ioengine=libpmem",
	"librpma_apm-client.fio":      "ioengine=librpma_apm_client",
	"librpma_apm-server.fio":      "ioengine=librpma_apm_server",
	"librpma_gpspm-client.fio":    "ioengine=librpma_gpspm_client",
	"librpma_gpspm-server.fio":    "ioengine=librpma_gpspm_server",
	"libzbc-rand-write.fio":       "ioengine=libzbc max_open_zones zonemode=zbd",
	"libzbc-seq-read.fio":         "ioengine=libzbc zonemode=zbd",
	"mtd.fio":                     "block_error_percentiles ioengine=mtd",
	"netio.fio":                   "ioengine=net",
	"netio_multicast.fio":         "ioengine=net",
	"nfs.fio":                     "ioengine=nfs",
	"pmemblk.fio":                 "ioengine=pmemblk",
	"rados.fio":                   "ioengine=rados",
	"rbd.fio":                     "ioengine=rbd",
	"rdmaio-client.fio":           "ioengine=rdma",
	"rdmaio-server.fio":           "ioengine=rdma",
	"sg_verify-fail.fio":          "ioengine=sg",
	"sg_verify.fio":               "ioengine=sg",
	"sg_write_same_ndob.fio":      "ioengine=sg",
	"uring-cmd-zoned.fio":         "zonemode=zbd",
	"xnvme-zoned.fio":             "zonemode=zbd",
	"zbd-rand-write.fio":          "max_open_zones zonemode=zbd",
	"zbd-seq-read.fio":            "zonemode=zbd",
}

// exampleVars are the environment variables the examples ask for.
var exampleVars = map[string]string{
	"FIO_RW": "randread", "FIO_IODEPTH": "4", "FIO_BS": "4k", "FIO_DIR": "/tmp", "unixsocket": "/tmp/nbd.sock",
}

// examples returns the folder of fio's example job files: that of
// BLKBENCH_FIO_EXAMPLES, or one from the distribution's source package.
func examples(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("BLKBENCH_FIO_EXAMPLES"); dir != "" {
		return dir
	}
	notShort(t)
	require(t, "fio")
	require(t, "dpkg-source")
	dir := filepath.Join(os.TempDir(), "blkbench-fio-source")
	if found := findExamples(dir); found != "" {
		return found
	}
	if err := fetchSource(t, dir); err != nil {
		missing(t, "the source package of fio, or BLKBENCH_FIO_EXAMPLES: "+err.Error())
	}
	found := findExamples(dir)
	if found == "" {
		missing(t, "the source package of fio, or BLKBENCH_FIO_EXAMPLES")
	}
	return found
}

func findExamples(dir string) string {
	found, err := filepath.Glob(filepath.Join(dir, "fio-*", "examples"))
	if err != nil || len(found) == 0 {
		return ""
	}
	return found[0]
}

// fetchSource has apt-get unpack fio's source package into dir, with lists and
// caches of its own, so that nothing of the machine's changes.
func fetchSource(t *testing.T, dir string) error {
	t.Helper()
	apt := t.TempDir()
	sources, err := distributionSources()
	if err != nil {
		return err
	}
	for path, text := range map[string]string{"parts/d.sources": sources, "lists/partial/.keep": "", "cache/archives/partial/.keep": ""} {
		path = filepath.Join(apt, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	options := []string{
		"-qq", "-o", "Dir::Etc::sourcelist=/dev/null", "-o", "Dir::Etc::sourceparts=" + apt + "/parts",
		"-o", "Dir::State::lists=" + apt + "/lists", "-o", "Dir::Cache=" + apt + "/cache", "-o", "Acquire::http::Timeout=10", "-o", "Acquire::Retries=0",
	}
	for _, verb := range [][]string{{"update"}, {"source", "fio"}} {
		cmd := exec.CommandContext(t.Context(), "apt-get", append(slices.Clone(options), verb...)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return errors.New(strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// distributionSources is the distribution's own entry of apt's configuration,
// for source packages.
func distributionSources() (string, error) {
	files, err := filepath.Glob("/etc/apt/sources.list.d/*.sources")
	if err != nil {
		return "", err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		if strings.Contains(string(text), "archive-keyring") && strings.Contains(string(text), "Types: deb\n") {
			return strings.ReplaceAll(string(text), "Types: deb\n", "Types: deb-src\n"), nil
		}
	}
	return "", errors.New("apt's configuration names no archive of the distribution")
}

func TestInteropExamples(t *testing.T) {
	t.Parallel()
	dir := examples(t)
	files, err := filepath.Glob(filepath.Join(dir, "*.fio"))
	if err != nil || len(files) < 80 {
		t.Fatalf("%d examples in %s: %v", len(files), dir, err)
	}
	env := SystemEnv()
	env.Getenv = func(name string) (string, bool) {
		v, ok := exampleVars[name]
		return v, ok
	}
	for _, file := range files {
		name := filepath.Base(file)
		plan, err := ParseArgs([]string{"--showcmd", file}, env)
		if want, refused := refusedExamples[name]; refused {
			if got := reasons(err); got != want {
				t.Errorf("%s is refused for %q, not %q: %v", name, got, want, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		checkPlan(t, plan)
		shown, ferr := fioExample(t, "--showcmd", file)
		if ferr != nil {
			t.Errorf("%s is accepted, fio refuses it: %s", name, shown)
		}
		if out, err := fioExample(t, "--parse-only", file); err != nil {
			t.Errorf("%s is accepted, fio --parse-only refuses it: %s", name, out)
		}
		compareShown(t, name, plan.ShowCmd("fio"), shown)
	}
}

func fioExample(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), require(t, "fio"), args...)
	cmd.Dir = t.TempDir()
	cmd.Env = os.Environ()
	for k, v := range exampleVars {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// compareShown compares two --showcmd outputs by their words. fio does not quote
// values, so ours lose their quotes and are split again.
func compareShown(t *testing.T, name, ours, theirs string) {
	t.Helper()
	unquote := strings.NewReplacer("'", "", `"`, "")
	a, b := strings.Fields(unquote.Replace(ours)), strings.Fields(unquote.Replace(theirs))
	if !slices.Equal(a, b) {
		t.Errorf("%s:\n%q\nfio shows\n%q", name, a, b)
	}
}

// reasons are the keys an error refuses, each once, in order.
func reasons(err error) string {
	var list ErrorList
	if !errors.As(err, &list) {
		return ""
	}
	var keys []string
	for _, e := range list {
		if !errors.Is(e, ErrRefused) {
			return e.Error()
		}
		key := e.Key
		if value, _, ok := strings.Cut(e.Msg, " is known to fio"); ok {
			key += "=" + value
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return strings.Join(slices.Compact(keys), " ")
}
