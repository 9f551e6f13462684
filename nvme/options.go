package nvme

import (
	"log/slog"
	"time"
)

// Options say how a Controller is driven. The zero value is right for most.
type Options struct {
	// Queues is how many I/O queues to ask for; the controller may grant fewer. 0 asks for 16.
	Queues int
	// QueueSize is the number of entries of an I/O queue, rounded down to a power of two, to MaxQueueSize and to
	// what the controller has; one less can be in flight. 0 is 256.
	QueueSize int
	// Interrupts gives every Queue an MSI-X vector and an eventfd.
	Interrupts bool
	// Timeout bounds an I/O command before its recovery starts, AdminTimeout an admin command; 0 is 30 s and 60 s.
	Timeout      time.Duration
	AdminTimeout time.Duration
	// AbortTimeout is how long an aborted command, and each step of the recovery, may take; 0 is 2 s.
	AbortTimeout time.Duration
	// NoShadowDoorbells leaves Doorbell Buffer Config alone, NoSGL uses PRPs only.
	NoShadowDoorbells bool
	NoSGL             bool
	// CMB puts submission queues into the controller's memory buffer where it has one for them.
	CMB bool
	// HostMemory bounds the host memory buffer in bytes; 0 gives what the controller prefers up to 128 MiB, a
	// negative value none.
	HostMemory int64
	// Log gets what happens outside any call: asynchronous events, recovery. nil drops it.
	Log *slog.Logger
	// OnEvent is called from the controller's own goroutine for every asynchronous event.
	OnEvent func(AsyncEvent)
}

// tickInterval is the resolution of command timeouts.
const tickInterval = 50 * time.Millisecond

func (o Options) withDefaults() Options {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&o.Timeout, 30*time.Second)
	def(&o.AdminTimeout, 60*time.Second)
	def(&o.AbortTimeout, 2*time.Second)
	if o.Queues <= 0 {
		o.Queues = 16
	}
	if o.QueueSize <= 0 {
		o.QueueSize = 256
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// ticks is d in ticks of interval, at least one.
func ticks(d, interval time.Duration) uint32 {
	return uint32(max(1, (d+interval-1)/interval))
}
