package nvme

import (
	"fmt"
	"time"
)

// Controller registers, offsets in BAR 0. NVMe Base 2.0d §3.1.3, figure 33
const (
	regCAP    = 0x00
	regVS     = 0x08
	regINTMS  = 0x0c
	regINTMC  = 0x10
	regCC     = 0x14
	regCSTS   = 0x1c
	regNSSR   = 0x20
	regAQA    = 0x24
	regASQ    = 0x28
	regACQ    = 0x30
	regCMBLOC = 0x38
	regCMBSZ  = 0x3c
	regCMBMSC = 0x50
	regCMBSTS = 0x58
	// regDoorbells is where the doorbells start. NVMe PCIe 1.0d §3.1.2
	regDoorbells = 0x1000
)

// CAP is the Controller Capabilities register. NVMe Base 2.0d §3.1.3.1
type CAP uint64

// MQES is the largest I/O queue size, 0's based.
func (c CAP) MQES() uint16 { return uint16(c) }

// CQR says that queues must be physically contiguous.
func (c CAP) CQR() bool { return c&(1<<16) != 0 }

// AMS is the set of arbitration mechanisms.
func (c CAP) AMS() uint8 { return uint8(c>>17) & 3 }

// TO is the worst-case time for CSTS.RDY to change, in units of 500 ms.
func (c CAP) TO() uint8 { return uint8(c >> 24) }

// Timeout is TO as a duration; 0 in the register is taken as one unit.
func (c CAP) Timeout() time.Duration { return time.Duration(max(c.TO(), 1)) * 500 * time.Millisecond }

// DSTRD is the doorbell stride: 4 << DSTRD bytes.
func (c CAP) DSTRD() uint8 { return uint8(c>>32) & 0xf }

// Stride is the distance of two doorbells in bytes.
func (c CAP) Stride() uint64 { return 4 << c.DSTRD() }

// NSSRS says that NVM subsystem reset is supported.
func (c CAP) NSSRS() bool { return c&(1<<36) != 0 }

// CSS is the set of command sets.
func (c CAP) CSS() uint8 { return uint8(c >> 37) }

// BPS says that boot partitions are supported.
func (c CAP) BPS() bool { return c&(1<<45) != 0 }

// MPSMIN and MPSMAX are the page sizes: 4096 << MPS bytes.
func (c CAP) MPSMIN() uint8 { return uint8(c>>48) & 0xf }

// MPSMAX is the largest page size.
func (c CAP) MPSMAX() uint8 { return uint8(c>>52) & 0xf }

// PMRS says that there is a persistent memory region.
func (c CAP) PMRS() bool { return c&(1<<56) != 0 }

// CMBS says that there is a controller memory buffer to be enabled through CMBMSC.
func (c CAP) CMBS() bool { return c&(1<<57) != 0 }

// VS is the version register. NVMe Base 2.0d §3.1.3.2
type VS uint32

func (v VS) String() string {
	return fmt.Sprintf("%d.%d.%d", v>>16, v>>8&0xff, v&0xff)
}

// CC is the Controller Configuration register. NVMe Base 2.0d §3.1.3.5
type CC uint32

// CC fields.
const (
	ccEN        CC = 1 << 0
	ccCSSAll    CC = 6 << 4 // one or more I/O command sets, by Identify CNS 1Ch
	ccSHNMask   CC = 3 << 14
	ccSHNNormal CC = 1 << 14
	ccSHNAbrupt CC = 2 << 14
	ccIOSQES    CC = 6 << 16
	ccIOCQES    CC = 4 << 20
)

// Enabled is CC.EN.
func (c CC) Enabled() bool { return c&ccEN != 0 }

// CSTS is the Controller Status register. NVMe Base 2.0d §3.1.3.6
type CSTS uint32

// RDY says that the controller accepts commands.
func (s CSTS) RDY() bool { return s&1 != 0 }

// CFS says that the controller has had a fatal error.
func (s CSTS) CFS() bool { return s&2 != 0 }

// SHST is the shutdown status: 0 none, 1 in progress, 2 complete.
func (s CSTS) SHST() uint8 { return uint8(s>>2) & 3 }

// NSSRO says that an NVM subsystem reset has occurred.
func (s CSTS) NSSRO() bool { return s&(1<<4) != 0 }

// PP says that command processing is paused.
func (s CSTS) PP() bool { return s&(1<<5) != 0 }

// Removed says that the register reads as all ones: nothing answers on the bus.
func (s CSTS) Removed() bool { return s == 0xffffffff }

// CMBLOC is the Controller Memory Buffer Location register. NVMe Base 2.0d §3.1.3.11
type CMBLOC uint32

// BIR is the BAR that holds the buffer.
func (c CMBLOC) BIR() uint8 { return uint8(c) & 7 }

// OFST is the offset in units of CMBSZ.SZU.
func (c CMBLOC) OFST() uint32 { return uint32(c >> 12) }

// CQMMS says that queues in the buffer may lie across its units.
func (c CMBLOC) CQMMS() bool { return c&(1<<3) != 0 }

// CMBSZ is the Controller Memory Buffer Size register. NVMe Base 2.0d §3.1.3.12
type CMBSZ uint32

// SQS says that the buffer may hold submission queues.
func (c CMBSZ) SQS() bool { return c&1 != 0 }

// CQS says that it may hold completion queues.
func (c CMBSZ) CQS() bool { return c&2 != 0 }

// LISTS says that it may hold PRP and SGL lists.
func (c CMBSZ) LISTS() bool { return c&4 != 0 }

// RDS says that it may hold data that the controller writes.
func (c CMBSZ) RDS() bool { return c&8 != 0 }

// WDS says that it may hold data that the controller reads.
func (c CMBSZ) WDS() bool { return c&16 != 0 }

// Unit is SZU in bytes: 4 KiB << (4 * SZU).
func (c CMBSZ) Unit() uint64 { return 4096 << (4 * (uint64(c>>8) & 0xf)) }

// Bytes is the size of the buffer.
func (c CMBSZ) Bytes() uint64 { return uint64(c>>12) * c.Unit() }

// Registers is a snapshot of the controller's registers.
type Registers struct {
	CAP    CAP
	VS     VS
	INTMS  uint32
	INTMC  uint32
	CC     CC
	CSTS   CSTS
	NSSR   uint32
	AQA    uint32
	ASQ    uint64
	ACQ    uint64
	CMBLOC CMBLOC
	CMBSZ  CMBSZ
	Raw    [0x1000]byte // everything below the doorbells that could be read, for fields not named here
}

// ReadRegisters takes a snapshot. Only the registers that are defined are read: reading others is reserved.
func ReadRegisters(d Device) (*Registers, error) {
	r := &Registers{}
	load64 := map[uint64]bool{regCAP: true, regASQ: true, regACQ: true, regCMBMSC: true}
	for _, off := range []uint64{
		regCAP, regVS, regINTMS, regINTMC, regCC, regCSTS, regNSSR, regAQA, regASQ, regACQ, regCMBLOC, regCMBSZ,
		0x40, 0x44, 0x48, regCMBMSC, regCMBSTS, 0x5c, 0x60, 0x64, 0x68,
		0xe00, 0xe04, 0xe08, 0xe0c, 0xe10, 0xe14, 0xe18,
	} {
		if load64[off] {
			v, err := d.Load64(0, off)
			if err != nil {
				return nil, err
			}
			le.PutUint64(r.Raw[off:], v)
			continue
		}
		v, err := d.Load32(0, off)
		if err != nil {
			return nil, err
		}
		le.PutUint32(r.Raw[off:], v)
	}
	r.CAP = CAP(le.Uint64(r.Raw[regCAP:]))
	r.VS = VS(le.Uint32(r.Raw[regVS:]))
	r.INTMS = le.Uint32(r.Raw[regINTMS:])
	r.INTMC = le.Uint32(r.Raw[regINTMC:])
	r.CC = CC(le.Uint32(r.Raw[regCC:]))
	r.CSTS = CSTS(le.Uint32(r.Raw[regCSTS:]))
	r.NSSR = le.Uint32(r.Raw[regNSSR:])
	r.AQA = le.Uint32(r.Raw[regAQA:])
	r.ASQ = le.Uint64(r.Raw[regASQ:])
	r.ACQ = le.Uint64(r.Raw[regACQ:])
	r.CMBLOC = CMBLOC(le.Uint32(r.Raw[regCMBLOC:]))
	r.CMBSZ = CMBSZ(le.Uint32(r.Raw[regCMBSZ:]))
	return r, nil
}
