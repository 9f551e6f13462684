package host

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/blkbench/blkbench/bench/result"
)

// Watch counts what disks do from its start on.
type Watch struct {
	s     *System
	start time.Time
	disks []*watched
}

type watched struct {
	name   string
	first  counters
	slaves []*watched
}

// counters are the fields of sys/block/NAME/stat (Documentation/block/stat.rst), of which /proc/diskstats has the same after the name.
type counters struct {
	readIOs, readMerges, readSectors, readTicks     uint64
	writeIOs, writeMerges, writeSectors, writeTicks uint64
	inFlight, ioTicks, inQueue                      uint64
}

// Watch starts to watch the disks under the targets; a target without a disk adds nothing.
func (s *System) Watch(targets []result.Target) *Watch {
	w := &Watch{s: s, start: s.Now()}
	var seen []string
	for i := range targets {
		b := targets[i].Block
		if b == nil || slices.Contains(seen, b.Name) {
			continue
		}
		seen = append(seen, b.Name)
		w.disks = append(w.disks, s.watch(b.Name))
	}
	return w
}

func (s *System) watch(name string) *watched {
	d := &watched{name: name}
	d.first, _ = s.counters(name)
	for _, n := range s.names("sys/block/" + name + "/slaves") {
		if !s.exists("sys/block/" + n) { // a partition: its disk
			if t := s.link("sys/class/block/" + n); t != "" {
				n = parent(t)
			}
		}
		d.slaves = append(d.slaves, s.watch(n))
	}
	return d
}

// parent is the last but one element of a path.
func parent(p string) string {
	f := strings.Split(strings.TrimRight(p, "/"), "/")
	if len(f) < 2 {
		return ""
	}
	return f[len(f)-2]
}

func (s *System) counters(name string) (c counters, ok bool) {
	for _, l := range s.lines("proc/diskstats") {
		f := strings.Fields(l)
		if len(f) < 14 || f[2] != name {
			continue
		}
		for i, p := range []*uint64{
			&c.readIOs, &c.readMerges, &c.readSectors, &c.readTicks, &c.writeIOs, &c.writeMerges, &c.writeSectors, &c.writeTicks,
			&c.inFlight, &c.ioTicks, &c.inQueue,
		} {
			n, err := strconv.ParseUint(f[3+i], 10, 64)
			if err != nil {
				return counters{}, false
			}
			*p = n
		}
		return c, true
	}
	return counters{}, false
}

// Util is what the disks did since the start, in fio's terms: counts, milliseconds, and the percentage of time with a request in flight. Device mapper and RAID devices
// carry the mean of the devices beneath, with the highest of their utilisations. It may be asked again.
func (w *Watch) Util() (out []result.DiskUtil) {
	elapsed := w.s.Now().Sub(w.start)
	for _, d := range w.disks {
		u, ok := w.util(d, elapsed)
		if !ok {
			continue
		}
		if len(d.slaves) > 0 {
			u.Aggregate = w.aggregate(d.slaves, elapsed)
		}
		out = append(out, u)
	}
	return out
}

func (w *Watch) util(d *watched, elapsed time.Duration) (result.DiskUtil, bool) {
	now, ok := w.s.counters(d.name)
	if !ok {
		return result.DiskUtil{}, false
	}
	u := result.DiskUtil{
		Name: d.name, ReadIOs: since(now.readIOs, d.first.readIOs), WriteIOs: since(now.writeIOs, d.first.writeIOs),
		ReadMerges: since(now.readMerges, d.first.readMerges), WriteMerges: since(now.writeMerges, d.first.writeMerges),
		ReadSectors: since(now.readSectors, d.first.readSectors), WriteSectors: since(now.writeSectors, d.first.writeSectors),
		ReadTicks: since(now.readTicks, d.first.readTicks), WriteTicks: since(now.writeTicks, d.first.writeTicks),
		InQueue: since(now.inQueue, d.first.inQueue),
	}
	if ms := elapsed.Milliseconds(); ms > 0 {
		u.Util = min(100*float64(since(now.ioTicks, d.first.ioTicks))/float64(ms), 100)
	}
	return u, true
}

// since is the growth of a counter; the kernel keeps the times in 32 bits on some machines, and they wrap.
func since(now, then uint64) uint64 {
	if now < then {
		if then < 1<<32 {
			return now + 1<<32 - then
		}
		return 0
	}
	return now - then
}

func (w *Watch) aggregate(slaves []*watched, elapsed time.Duration) *result.DiskUtil {
	a, n := &result.DiskUtil{}, uint64(0)
	for _, d := range slaves {
		u, ok := w.util(d, elapsed)
		if !ok {
			continue
		}
		n++
		for _, p := range []struct {
			sum *uint64
			v   uint64
		}{
			{&a.ReadIOs, u.ReadIOs},
			{&a.WriteIOs, u.WriteIOs},
			{&a.ReadMerges, u.ReadMerges},
			{&a.WriteMerges, u.WriteMerges},
			{&a.ReadSectors, u.ReadSectors},
			{&a.WriteSectors, u.WriteSectors},
			{&a.ReadTicks, u.ReadTicks},
			{&a.WriteTicks, u.WriteTicks},
			{&a.InQueue, u.InQueue},
		} {
			*p.sum += p.v
		}
		a.Util = max(a.Util, u.Util)
	}
	if n == 0 {
		return nil
	}
	for _, p := range []*uint64{&a.ReadIOs, &a.WriteIOs, &a.ReadMerges, &a.WriteMerges, &a.ReadSectors, &a.WriteSectors, &a.ReadTicks, &a.WriteTicks, &a.InQueue} {
		*p /= n
	}
	return a
}
