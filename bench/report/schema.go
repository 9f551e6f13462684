package report

import (
	"bytes"
	"encoding/json"
)

// fio's JSON as the reader takes it: what a field does not hold stays zero.

type fioRun struct {
	Version     string     `json:"fio version"`
	TimestampMS int64      `json:"timestamp_ms"`
	Timestamp   int64      `json:"timestamp"`
	Globals     optionList `json:"global options"`
	Jobs        []fioJob   `json:"jobs"`
	Disks       []fioDisk  `json:"disk_util"`
	Extras      *runExtras `json:"blkbench"`
}

type fioJob struct {
	Name      string             `json:"jobname"`
	Desc      string             `json:"desc"`
	Group     int                `json:"groupid"`
	Error     int                `json:"error"`
	ETA       int64              `json:"eta"`
	Elapsed   int64              `json:"elapsed"`
	Options   optionList         `json:"job options"`
	Read      *fioDir            `json:"read"`
	Write     *fioDir            `json:"write"`
	Trim      *fioDir            `json:"trim"`
	Mixed     *fioDir            `json:"mixed"`
	Sync      *fioDir            `json:"sync"`
	JobStart  int64              `json:"job_start"`
	Runtime   uint64             `json:"job_runtime"`
	UsrCPU    float64            `json:"usr_cpu"`
	SysCPU    float64            `json:"sys_cpu"`
	Ctx       uint64             `json:"ctx"`
	MajF      uint64             `json:"majf"`
	MinF      uint64             `json:"minf"`
	Level     map[string]float64 `json:"iodepth_level"`
	Submit    map[string]float64 `json:"iodepth_submit"`
	Complete  map[string]float64 `json:"iodepth_complete"`
	TotalErr  *uint64            `json:"total_err"`
	FirstErr  int                `json:"first_error"`
	LatDepth  int                `json:"latency_depth"`
	LatTarget int64              `json:"latency_target"`
	LatPct    float64            `json:"latency_percentile"`
	LatWindow int64              `json:"latency_window"`
	Steady    *fioSteady         `json:"steadystate"`
	Extras    *fioJobExtras      `json:"blkbench"`
}

type fioJobExtras struct {
	jobExtras
	Series []stepExtras `json:"series"`
}

type fioDir struct {
	Bytes       uint64  `json:"io_bytes"`
	BWBytes     float64 `json:"bw_bytes"`
	IOPS        float64 `json:"iops"`
	Runtime     uint64  `json:"runtime"`
	IOs         uint64  `json:"total_ios"`
	Short       uint64  `json:"short_ios"`
	Dropped     uint64  `json:"drop_ios"`
	Slat        fioLat  `json:"slat_ns"`
	Clat        fioLat  `json:"clat_ns"`
	Lat         fioLat  `json:"lat_ns"`
	BWMin       float64 `json:"bw_min"`
	BWMax       float64 `json:"bw_max"`
	BWAgg       float64 `json:"bw_agg"`
	BWMean      float64 `json:"bw_mean"`
	BWDev       float64 `json:"bw_dev"`
	BWSamples   int     `json:"bw_samples"`
	IOPSMin     float64 `json:"iops_min"`
	IOPSMax     float64 `json:"iops_max"`
	IOPSMean    float64 `json:"iops_mean"`
	IOPSStdDev  float64 `json:"iops_stddev"`
	IOPSSamples int     `json:"iops_samples"`
}

type fioLat struct {
	Min        uint64            `json:"min"`
	Max        uint64            `json:"max"`
	Mean       float64           `json:"mean"`
	StdDev     float64           `json:"stddev"`
	N          uint64            `json:"N"`
	Percentile map[string]uint64 `json:"percentile"`
	Bins       map[string]uint64 `json:"bins"`
}

type fioSteady struct {
	SS        string  `json:"ss"`
	Duration  int64   `json:"duration"`
	Attained  int     `json:"attained"`
	Criterion string  `json:"criterion"`
	MaxDev    float64 `json:"max_deviation"`
	Slope     float64 `json:"slope"`
	Data      struct {
		BWMean   float64   `json:"bw_mean"`
		IOPSMean float64   `json:"iops_mean"`
		LatMean  float64   `json:"lat_mean"`
		IOPS     []float64 `json:"iops"`
		BW       []float64 `json:"bw"`
		Lat      []float64 `json:"lat"`
	} `json:"data"`
}

type fioDisk struct {
	Name             string  `json:"name"`
	ReadIOs          uint64  `json:"read_ios"`
	WriteIOs         uint64  `json:"write_ios"`
	ReadSectors      uint64  `json:"read_sectors"`
	WriteSectors     uint64  `json:"write_sectors"`
	ReadMerges       uint64  `json:"read_merges"`
	WriteMerges      uint64  `json:"write_merges"`
	ReadTicks        uint64  `json:"read_ticks"`
	WriteTicks       uint64  `json:"write_ticks"`
	InQueue          uint64  `json:"in_queue"`
	Util             float64 `json:"util"`
	AggrReadIOs      *uint64 `json:"aggr_read_ios"`
	AggrWriteIOs     uint64  `json:"aggr_write_ios"`
	AggrReadSectors  uint64  `json:"aggr_read_sectors"`
	AggrWriteSectors uint64  `json:"aggr_write_sectors"`
	AggrReadMerges   uint64  `json:"aggr_read_merges"`
	AggrWriteMerges  uint64  `json:"aggr_write_merge"`
	AggrReadTicks    uint64  `json:"aggr_read_ticks"`
	AggrWriteTicks   uint64  `json:"aggr_write_ticks"`
	AggrInQueue      uint64  `json:"aggr_in_queue"`
	AggrUtil         float64 `json:"aggr_util"`
}

// optionList keeps an object's keys in their order.
type optionList []struct{ Key, Value string }

func (l *optionList) UnmarshalJSON(b []byte) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	t, err := dec.Token()
	if err != nil || t != json.Delim('{') {
		return err // null, or something else: no options
	}
	for dec.More() {
		k, err := dec.Token()
		if err != nil {
			return err
		}
		var v any
		if err := dec.Decode(&v); err != nil {
			return err
		}
		s, ok := v.(string)
		if key, isString := k.(string); ok && isString {
			*l = append(*l, struct{ Key, Value string }{key, s})
		}
	}
	return nil
}
