package nvme

import "fmt"

// CNS values of Identify. NVMe Base 2.0d §5.17, figure 274
const (
	CNSNamespace        = 0x00
	CNSController       = 0x01
	CNSActiveNamespaces = 0x02
	CNSNamespaceDescs   = 0x03
	CNSAllocatedList    = 0x10
	CNSAllocatedNS      = 0x11
	CNSNSControllers    = 0x12
	CNSControllerList   = 0x13
)

// IdentifySize is the size of every Identify data structure.
const IdentifySize = 4096

// PowerState is a power state descriptor. NVMe Base 2.0d §5.17.2.1, figure 276
type PowerState struct {
	MP    uint16
	Flags uint8 // bit 0 MXPS, bit 1 NOPS
	ENLAT uint32
	EXLAT uint32
	RRT   uint8
	RRL   uint8
	RWT   uint8
	RWL   uint8
	IDLP  uint16
	IPS   uint8
	ACTP  uint16
	APWS  uint8 // APW in bits 2:0, APS in 7:6
}

// IdentifyController is the Identify Controller data structure. Raw keeps what has no field here.
// NVMe Base 2.0d §5.17.2.1, figure 275
type IdentifyController struct {
	VID       uint16
	SSVID     uint16
	SN        string
	MN        string
	FR        string
	RAB       uint8
	IEEE      uint32 // 24 bits
	CMIC      uint8
	MDTS      uint8
	CNTLID    uint16
	VER       VS
	RTD3R     uint32
	RTD3E     uint32
	OAES      uint32
	CTRATT    uint32
	RRLS      uint16
	CNTRLTYPE uint8
	FGUID     [16]byte
	CRDT1     uint16
	CRDT2     uint16
	CRDT3     uint16
	NVMSR     uint8
	VWCI      uint8
	MEC       uint8
	OACS      uint16
	ACL       uint8
	AERL      uint8
	FRMW      uint8
	LPA       uint8
	ELPE      uint8
	NPSS      uint8
	AVSCC     uint8
	APSTA     uint8
	WCTEMP    uint16
	CCTEMP    uint16
	MTFA      uint16
	HMPRE     uint32 // 4 KiB units
	HMMIN     uint32 // 4 KiB units
	TNVMCAP   Uint128
	UNVMCAP   Uint128
	RPMBS     uint32
	EDSTT     uint16
	DSTO      uint8
	FWUG      uint8
	KAS       uint16
	HCTMA     uint16
	MNTMT     uint16
	MXTMT     uint16
	SANICAP   uint32
	HMMINDS   uint32
	HMMAXD    uint16
	NSETIDMAX uint16
	ENDGIDMAX uint16
	ANATT     uint8
	ANACAP    uint8
	ANAGRPMAX uint32
	NANAGRPID uint32
	PELS      uint32
	DOMAINID  uint16
	MEGCAP    Uint128
	SQES      uint8
	CQES      uint8
	MAXCMD    uint16
	NN        uint32
	ONCS      uint16
	FUSES     uint16
	FNA       uint8
	VWC       uint8
	AWUN      uint16
	AWUPF     uint16
	ICSVSCC   uint8
	NWPC      uint8
	ACWU      uint16
	OCFS      uint16
	SGLS      uint32
	MNAN      uint32
	MAXDNA    Uint128
	MAXCNA    uint32
	SUBNQN    string
	IOCCSZ    uint32
	IORCSZ    uint32
	ICDOFF    uint16
	FCATT     uint8
	MSDBD     uint8
	OFCS      uint16
	PSD       [32]PowerState
	VS        []byte // 1024 vendor specific bytes
	Raw       []byte
}

// ParseIdentifyController decodes the 4096 bytes of CNS 01h. b is kept.
func ParseIdentifyController(b []byte) (*IdentifyController, error) {
	if len(b) < IdentifySize {
		return nil, fmt.Errorf("identify controller data of %d bytes", len(b))
	}
	u16, u32 := le.Uint16, le.Uint32
	c := &IdentifyController{
		VID: u16(b[0:]), SSVID: u16(b[2:]), SN: ascii(b[4:24]), MN: ascii(b[24:64]), FR: ascii(b[64:72]),
		RAB: b[72], IEEE: uint32(b[75])<<16 | uint32(b[74])<<8 | uint32(b[73]), CMIC: b[76], MDTS: b[77],
		CNTLID: u16(b[78:]), VER: VS(u32(b[80:])), RTD3R: u32(b[84:]), RTD3E: u32(b[88:]), OAES: u32(b[92:]),
		CTRATT: u32(b[96:]), RRLS: u16(b[100:]), CNTRLTYPE: b[111], FGUID: [16]byte(b[112:128]),
		CRDT1: u16(b[128:]), CRDT2: u16(b[130:]), CRDT3: u16(b[132:]), NVMSR: b[253], VWCI: b[254], MEC: b[255],
		OACS: u16(b[256:]), ACL: b[258], AERL: b[259], FRMW: b[260], LPA: b[261], ELPE: b[262], NPSS: b[263],
		AVSCC: b[264], APSTA: b[265], WCTEMP: u16(b[266:]), CCTEMP: u16(b[268:]), MTFA: u16(b[270:]),
		HMPRE: u32(b[272:]), HMMIN: u32(b[276:]), TNVMCAP: uint128(b[280:]), UNVMCAP: uint128(b[296:]),
		RPMBS: u32(b[312:]), EDSTT: u16(b[316:]), DSTO: b[318], FWUG: b[319], KAS: u16(b[320:]),
		HCTMA: u16(b[322:]), MNTMT: u16(b[324:]), MXTMT: u16(b[326:]), SANICAP: u32(b[328:]),
		HMMINDS: u32(b[332:]), HMMAXD: u16(b[336:]), NSETIDMAX: u16(b[338:]), ENDGIDMAX: u16(b[340:]),
		ANATT: b[342], ANACAP: b[343], ANAGRPMAX: u32(b[344:]), NANAGRPID: u32(b[348:]), PELS: u32(b[352:]),
		DOMAINID: u16(b[356:]), MEGCAP: uint128(b[368:]),
		SQES: b[512], CQES: b[513], MAXCMD: u16(b[514:]), NN: u32(b[516:]), ONCS: u16(b[520:]), FUSES: u16(b[522:]),
		FNA: b[524], VWC: b[525], AWUN: u16(b[526:]), AWUPF: u16(b[528:]), ICSVSCC: b[530], NWPC: b[531],
		ACWU: u16(b[532:]), OCFS: u16(b[534:]), SGLS: u32(b[536:]), MNAN: u32(b[540:]), MAXDNA: uint128(b[544:]),
		MAXCNA: u32(b[560:]), SUBNQN: ascii(b[768:1024]),
		IOCCSZ: u32(b[1792:]), IORCSZ: u32(b[1796:]), ICDOFF: u16(b[1800:]), FCATT: b[1802], MSDBD: b[1803], OFCS: u16(b[1804:]),
		VS: b[3072:4096], Raw: b[:IdentifySize],
	}
	for i := range c.PSD {
		c.PSD[i] = parsePowerState(b[2048+32*i:])
	}
	return c, nil
}

func parsePowerState(p []byte) PowerState {
	return PowerState{
		MP: le.Uint16(p), Flags: p[3], ENLAT: le.Uint32(p[4:]), EXLAT: le.Uint32(p[8:]),
		RRT: p[12] & 0x1f, RRL: p[13] & 0x1f, RWT: p[14] & 0x1f, RWL: p[15] & 0x1f,
		IDLP: le.Uint16(p[16:]), IPS: p[18] >> 6, ACTP: le.Uint16(p[20:]), APWS: p[22],
	}
}

// Optional admin commands, OACS. NVMe Base 2.0d §5.17.2.1, figure 275
const (
	OACSSecurity       = 1 << 0
	OACSFormat         = 1 << 1
	OACSFirmware       = 1 << 2
	OACSNSManagement   = 1 << 3
	OACSSelfTest       = 1 << 4
	OACSDirectives     = 1 << 5
	OACSDoorbellBuffer = 1 << 8
)

// Optional I/O commands, ONCS.
const (
	ONCSCompare            = 1 << 0
	ONCSWriteUncorrectable = 1 << 1
	ONCSDatasetManagement  = 1 << 2
	ONCSWriteZeroes        = 1 << 3
	ONCSSaveSelect         = 1 << 4
	ONCSReservations       = 1 << 5
	ONCSTimestamp          = 1 << 6
	ONCSVerify             = 1 << 7
	ONCSCopy               = 1 << 8
)

// SGLSupported says that I/O commands may use SGLs; dwordAligned that they must then start and end on 4 bytes.
func (c *IdentifyController) SGLSupported() (ok, dwordAligned bool) {
	return c.SGLS&3 == 1 || c.SGLS&3 == 2, c.SGLS&3 == 2
}

// VolatileWriteCache says that there is a write cache that Flush empties.
func (c *IdentifyController) VolatileWriteCache() bool { return c.VWC&1 != 0 }

// MaxTransfer is MDTS in bytes for the smallest page size, 0 for no limit.
func (c *IdentifyController) MaxTransfer(capability CAP) uint64 {
	if c.MDTS == 0 || c.MDTS > 32 {
		return 0
	}
	return 1 << (12 + uint64(capability.MPSMIN()) + uint64(c.MDTS))
}
