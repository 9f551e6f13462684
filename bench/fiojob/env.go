package fiojob

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Env is what the language may see of the world.
type Env struct {
	Getenv   func(name string) (string, bool)
	PageSize int
	MemoryMB int64
	CPUs     int
	// Open opens a job file, or a file one includes. The name "-" is standard input.
	Open func(name string) (io.ReadCloser, error)
	// OpenIn opens a file below a folder, and nothing a link there leads out to.
	OpenIn func(dir, name string) (io.ReadCloser, error)
}

// SystemEnv is the world of this process.
func SystemEnv() Env {
	var info unix.Sysinfo_t
	env := Env{Getenv: os.LookupEnv, PageSize: os.Getpagesize(), CPUs: runtime.NumCPU(), Open: openFile, OpenIn: openInRoot}
	if err := unix.Sysinfo(&info); err == nil {
		env.MemoryMB = int64(info.Totalram) * int64(info.Unit) >> 20
	}
	return env
}

func openFile(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(os.Stdin), nil
	}
	return os.Open(name)
}

func openInRoot(dir, name string) (io.ReadCloser, error) { return os.OpenInRoot(dir, name) }

func (e *Env) lookup(name string) (string, bool) {
	if e.Getenv == nil {
		return "", false
	}
	return e.Getenv(name)
}

// maxValue bounds a value after variables and keywords were put in.
const maxValue = 64 << 10

// expandVars replaces each ${NAME} by the environment's value, or by nothing;
// unset lists the names that had none.
func (e *Env) expandVars(s string) (out string, unset []string, err error) {
	var b strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			break
		}
		end := strings.IndexByte(s[i:], '}')
		if end < 0 {
			break
		}
		name := s[i+2 : i+end]
		val, ok := e.lookup(name)
		if !ok {
			unset = append(unset, name)
		}
		b.WriteString(s[:i] + val)
		if b.Len() > maxValue {
			return "", nil, fmt.Errorf("longer than %d bytes once ${%s} is put in", maxValue, name)
		}
		s = s[i+end+1:]
	}
	b.WriteString(s)
	return b.String(), unset, nil
}

// expandKeywords replaces $pagesize, $mb_memory and $ncpus. replaced says that
// there was one: then the value may be arithmetic without parentheses.
func (e *Env) expandKeywords(s string) (out string, replaced bool) {
	for word, n := range map[string]int64{"$pagesize": int64(e.PageSize), "$mb_memory": e.MemoryMB, "$ncpus": int64(e.CPUs)} {
		if strings.Contains(s, word) {
			s, replaced = strings.ReplaceAll(s, word, strconv.FormatInt(n, 10)), true
		}
	}
	return s, replaced
}

// calculate works out a value that a keyword was put into: 8*4096. Only + - * /
// make it arithmetic, and only in kinds that are numbers.
func calculate(o *Option, s string) (string, error) {
	switch o.Kind {
	case KindInt, KindSize, KindAmount, KindTime:
	default:
		return s, nil
	}
	if !strings.ContainsAny(s, "+-*/") || strings.ContainsAny(s, "(,") {
		return s, nil
	}
	n, err := evalExpr(s, unitBytes, 1024)
	if err != nil {
		return "", err
	}
	return strconv.FormatInt(n, 10), nil
}
