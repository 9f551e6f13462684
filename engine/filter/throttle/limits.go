package throttle

import (
	"math"

	"github.com/blkbench/blkbench/engine"
)

// Limits are QEMU's throttling options: rates in requests or bytes per second, 0 for none. Lengths are in seconds.
type Limits struct {
	IOPSTotal          int64  `opt:"iops-total,alias=iops" help:"requests a second"`
	IOPSTotalMax       int64  `opt:"iops-total-max,alias=iops-max" help:"requests a second in bursts"`
	IOPSTotalMaxLength *int64 `opt:"iops-total-max-length,alias=iops-max-length" help:"how long a burst may last, in seconds (1)"`
	IOPSRead           int64  `opt:"iops-read" help:"reads a second"`
	IOPSReadMax        int64  `opt:"iops-read-max" help:"reads a second in bursts"`
	IOPSReadMaxLength  *int64 `opt:"iops-read-max-length" help:"how long a burst of reads may last, in seconds (1)"`
	IOPSWrite          int64  `opt:"iops-write" help:"writes a second"`
	IOPSWriteMax       int64  `opt:"iops-write-max" help:"writes a second in bursts"`
	IOPSWriteMaxLength *int64 `opt:"iops-write-max-length" help:"how long a burst of writes may last, in seconds (1)"`
	BPSTotal           int64  `opt:"bps-total,alias=bps" kind:"size" help:"bytes a second"`
	BPSTotalMax        int64  `opt:"bps-total-max,alias=bps-max" kind:"size" help:"bytes a second in bursts"`
	BPSTotalMaxLength  *int64 `opt:"bps-total-max-length,alias=bps-max-length" help:"how long a burst may last, in seconds (1)"`
	BPSRead            int64  `opt:"bps-read" kind:"size" help:"bytes read a second"`
	BPSReadMax         int64  `opt:"bps-read-max" kind:"size" help:"bytes read a second in bursts"`
	BPSReadMaxLength   *int64 `opt:"bps-read-max-length" help:"how long a burst of reads may last, in seconds (1)"`
	BPSWrite           int64  `opt:"bps-write" kind:"size" help:"bytes written a second"`
	BPSWriteMax        int64  `opt:"bps-write-max" kind:"size" help:"bytes written a second in bursts"`
	BPSWriteMaxLength  *int64 `opt:"bps-write-max-length" help:"how long a burst of writes may last, in seconds (1)"`
	IOPSSize           int64  `opt:"iops-size" kind:"size" help:"a request of more bytes counts as several of this size"`
}

// The order of the buckets.
const (
	iopsTotal = iota
	iopsRead
	iopsWrite
	bpsTotal
	bpsRead
	bpsWrite
	buckets
)

// maxRate is the largest rate that QEMU takes.
const maxRate = 1_000_000_000_000_000

// rate is what one bucket is made from.
type rate struct {
	avg, max int64
	length   int64 // seconds
}

func (l *Limits) rates() [buckets]rate {
	length := func(p *int64) int64 {
		if p == nil {
			return 1
		}
		return *p
	}
	return [buckets]rate{
		iopsTotal: {l.IOPSTotal, l.IOPSTotalMax, length(l.IOPSTotalMaxLength)},
		iopsRead:  {l.IOPSRead, l.IOPSReadMax, length(l.IOPSReadMaxLength)},
		iopsWrite: {l.IOPSWrite, l.IOPSWriteMax, length(l.IOPSWriteMaxLength)},
		bpsTotal:  {l.BPSTotal, l.BPSTotalMax, length(l.BPSTotalMaxLength)},
		bpsRead:   {l.BPSRead, l.BPSReadMax, length(l.BPSReadMaxLength)},
		bpsWrite:  {l.BPSWrite, l.BPSWriteMax, length(l.BPSWriteMaxLength)},
	}
}

// Check refuses what makes no sense, in QEMU's words.
func (l *Limits) Check() error {
	r := l.rates()
	refuse := func(format string, args ...any) error { return engine.Errf(engine.ErrOption, format, args...) }
	for _, b := range r {
		if b.avg < 0 || b.max < 0 || b.length < 0 || l.IOPSSize < 0 {
			return refuse("Property values cannot be negative")
		}
	}
	both := func(total, read, write int) bool {
		return (r[total].avg != 0 && (r[read].avg != 0 || r[write].avg != 0)) || (r[total].max != 0 && (r[read].max != 0 || r[write].max != 0))
	}
	if both(iopsTotal, iopsRead, iopsWrite) || both(bpsTotal, bpsRead, bpsWrite) {
		return refuse("bps/iops/max total values and read/write values cannot be used at the same time")
	}
	if l.IOPSSize != 0 && r[iopsTotal].avg == 0 && r[iopsRead].avg == 0 && r[iopsWrite].avg == 0 {
		return refuse("iops size requires an iops value to be set")
	}
	for _, b := range r {
		switch {
		case b.avg > maxRate || b.max > maxRate:
			return refuse("bps/iops/max values must be within [0, %d]", int64(maxRate))
		case b.length == 0:
			return refuse("the burst length cannot be 0")
		case b.length > math.MaxUint32:
			return refuse("the burst length must be within [1, %d]", int64(math.MaxUint32))
		case b.length > 1 && b.max == 0:
			return refuse("burst length set without burst rate")
		case b.max != 0 && b.length > maxRate/b.max:
			return refuse("burst length too high for this burst rate")
		case b.max != 0 && b.avg == 0:
			return refuse("bps_max/iops_max require corresponding bps/iops values")
		case b.max != 0 && b.max < b.avg:
			return refuse("bps_max/iops_max cannot be lower than bps/iops")
		}
	}
	return nil
}

// given reports whether there is any limit.
func (l *Limits) given() bool {
	for _, b := range l.rates() {
		if b.avg != 0 {
			return true
		}
	}
	return false
}
