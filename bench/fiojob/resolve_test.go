package fiojob

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestKeys sets each key that is honoured and looks at the one field it is for.
func TestKeys(t *testing.T) {
	const s = time.Second
	tests := []struct {
		keys string // joined by blanks
		get  func(j *Job) any
		want any
	}{
		{"description=x", func(j *Job) any { return j.Description }, "x"},
		{"name=other", func(j *Job) any { return j.Name }, "other"},
		{"numjobs=3", func(j *Job) any { return j.NumJobs }, 3},
		{"stonewall", func(j *Job) any { return j.Order.Stonewall }, true},
		{"wait_for_previous=1", func(j *Job) any { return j.Order.Stonewall }, true},
		{"stonewall=0", func(j *Job) any { return j.Order.Stonewall }, false},
		{"new_group", func(j *Job) any { return j.Order.NewGroup }, true},
		{"exitall", func(j *Job) any { return j.Order.ExitAll }, true},
		{"exitall exit_what=stonewall", func(j *Job) any { return j.Order.ExitWhat }, ExitStonewall},
		{"exitall_on_error", func(j *Job) any { return j.Order.ExitAllOnError }, true},
		{"flow=3 flow_id=1 flow_sleep=100", func(j *Job) any { return j.Flow }, Flow{1, 3, 100 * time.Microsecond}},

		{"runtime=1m", func(j *Job) any { return j.Time.Runtime }, 60 * s},
		{"ramp_time=2", func(j *Job) any { return j.Time.Ramp }, 2 * s},
		{"startdelay=3", func(j *Job) any { return j.Time.StartDelay }, Span{3 * s, 3 * s}},
		{"startdelay=5-2", func(j *Job) any { return j.Time.StartDelay }, Span{2 * s, 5 * s}},
		{"startdelay=1s:2500ms", func(j *Job) any { return j.Time.StartDelay }, Span{s, 2500 * time.Millisecond}},
		{"runtime=5 time_based", func(j *Job) any { return j.Time.TimeBased }, true},
		{"loops=0", func(j *Job) any { return j.Time.Loops }, 1},
		{"loops=7", func(j *Job) any { return j.Time.Loops }, 7},

		{`filename=/dev/sda:/a\:b:c`, func(j *Job) any { return j.Files.Names }, []string{"/dev/sda", "/a:b", "c"}},
		{"filename=a filename=b", func(j *Job) any { return j.Files.Names }, []string{"a", "b"}},
		{"filename=a:b", func(j *Job) any { return j.Files.Count }, 2},
		{"filename=nbd://h:10809/x", func(j *Job) any { return j.Files.Names }, []string{"nbd://h:10809/x"}},
		{`filename=json:{"driver":"null-co"}`, func(j *Job) any { return j.Files.Names }, []string{`json:{"driver":"null-co"}`}},
		{"filename=driver=qcow2,file.driver=nbd,file.path=/a:b", func(j *Job) any { return len(j.Files.Names) }, 1},
		{"directory=/a:/b", func(j *Job) any { return j.Files.Directories }, []string{"/a", "/b"}},
		{"opendir=/d", func(j *Job) any { return j.Files.OpenDir }, "/d"},
		{"nrfiles=4 openfiles=2", func(j *Job) any { return [2]int{j.Files.Count, j.Files.Open} }, [2]int{4, 2}},
		{"nr_files=4", func(j *Job) any { return j.Files.Open }, 4},
		{"file_service_type=random:8", func(j *Job) any { return j.Files.Service }, FileService{ServiceRandom, 8, 0, -1}},
		{"file_service_type=zipf", func(j *Job) any { return j.Files.Service }, FileService{ServiceZipf, 1, 1.1, -1}},
		{"file_service_type=gauss:10:0.5", func(j *Job) any { return j.Files.Service }, FileService{ServiceNormal, 1, 10, .5}},
		{"size=1g", func(j *Job) any { return j.Files.Size }, Amount{Bytes: 1 << 30}},
		{"size=20%", func(j *Job) any { return j.Files.Size }, Amount{Percent: 20}},
		{"io_limit=2g", func(j *Job) any { return j.Files.IOSize }, Amount{Bytes: 2 << 30}},
		{"filesize=1m-4m", func(j *Job) any { return j.Files.FileSize }, Bytes{1 << 20, 4 << 20}},
		{"filesize=1m", func(j *Job) any { return j.Files.FileSize }, Bytes{1 << 20, 1 << 20}},
		{"fill_fs=1", func(j *Job) any { return j.Files.FillDevice }, true},
		{"file_append=1", func(j *Job) any { return j.Files.Append }, true},
		{"offset=10% offset_align=4k", func(j *Job) any { return j.Files.OffsetAlign }, int64(4096)},
		{"offset_increment=1m", func(j *Job) any { return j.Files.OffsetStep }, Amount{Bytes: 1 << 20}},
		{"number_ios=1k", func(j *Job) any { return j.Files.NumberIOs }, int64(1024)},
		{"fallocate=keep", func(j *Job) any { return j.Files.Fallocate }, FallocateKeep},
		{"fallocate=1", func(j *Job) any { return j.Files.Fallocate }, FallocatePosix},
		{"fadvise_hint=random", func(j *Job) any { return j.Files.Advice }, AdviceRandom},
		{"write_hint=long", func(j *Job) any { return j.Files.WriteHint }, HintLong},
		{"overwrite=1", func(j *Job) any { return j.Files.Overwrite }, true},
		{"create_fsync=0", func(j *Job) any { return j.Files.CreateFsync }, false},
		{"create_on_open", func(j *Job) any { return j.Files.CreateOnOpen }, true},
		{"create_only=1", func(j *Job) any { return j.Files.CreateOnly }, true},
		{"allow_file_create=0", func(j *Job) any { return j.Files.AllowCreate }, false},
		{"pre_read=1", func(j *Job) any { return [2]bool{j.Files.PreRead, j.Files.Invalidate} }, [2]bool{true, false}},
		{"invalidate=0", func(j *Job) any { return j.Files.Invalidate }, false},
		{"unlink=1 unlink_each_loop=1", func(j *Job) any { return j.Files.Unlink && j.Files.UnlinkEachLoop }, true},

		{"rw=randrw:8", func(j *Job) any { return j.RW }, RW{Kind: RandMixed, Every: 8, ReadPercent: 50}},
		{"rw=write:4k", func(j *Job) any { return j.RW.Stride }, int64(4096)},
		{"rw=read:-8k", func(j *Job) any { return j.RW.Stride }, int64(-8192)},
		{"rw=randread:8 rw_sequencer=identical", func(j *Job) any { return j.RW.Sequencer }, SequencerIdentical},
		{"rw=rw rwmixread=70", func(j *Job) any { return j.RW.ReadPercent }, 70},
		{"rw=rw rwmixread=70 rwmixwrite=40", func(j *Job) any { return j.RW.ReadPercent }, 60},
		{"direct", func(j *Job) any { return j.RW.Direct }, true},
		{"buffered=0", func(j *Job) any { return j.RW.Direct }, true},
		{"direct=1 buffered=1", func(j *Job) any { return j.RW.Direct }, false},
		{"sync=dsync", func(j *Job) any { return j.RW.Sync }, SyncData},
		{"sync=1", func(j *Job) any { return j.RW.Sync }, SyncFull},
		{"fsync=32 fdatasync=8 end_fsync=1 fsync_on_close=1", func(j *Job) any { return j.Sync }, Syncing{32, 8, SyncFileRange{}, true, true}},
		{"sync_file_range=wait_before,write:8", func(j *Job) any { return j.Sync.Range }, SyncFileRange{8, true, true, false}},
		{"sync_file_range=wait_after", func(j *Job) any { return j.Sync.Range }, SyncFileRange{1, false, false, true}},
		{"randrepeat=0", func(j *Job) any { return j.Random.Repeat }, false},
		{"allrandrepeat=1", func(j *Job) any { return j.Random.AllRepeat }, true},
		{"randseed=0x10", func(j *Job) any { return [2]any{j.Random.Seed, j.Random.SeedGiven} }, [2]any{uint64(16), true}},
		{"randseed=18446744073709551615", func(j *Job) any { return j.Random.Seed }, uint64(1<<64 - 1)},
		{"rw=randread norandommap", func(j *Job) any { return j.Random.NoMap }, true},
		{"rw=randread percentage_random=50,20", func(j *Job) any { return j.Random.Percent }, PerDir[int]{50, 20, 20}},
		{"rw=randread random_distribution=zipf:1.2:0.25", func(j *Job) any { return j.Random.Distribution[Write] }, Distribution{Kind: DistZipf, Shape: 1.2, Center: .25}},
		{"rw=randread random_distribution=pareto", func(j *Job) any { return j.Random.Distribution[Read] }, Distribution{Kind: DistPareto, Shape: .2, Center: -1}},
		{"rw=randread random_distribution=normal:30", func(j *Job) any { return j.Random.NoMap }, true},
		{
			"rw=randread random_distribution=zoned:60/10:30/20:8/30:2/40",
			func(j *Job) any { return j.Random.Distribution[Trim].Zones },
			[]AccessZone{{60, 10, 0}, {30, 20, 0}, {8, 30, 0}, {2, 40, 0}},
		},
		{
			"rw=randread random_distribution=zoned:50/5:30/15:20/,100/100",
			func(j *Job) any { return [2]any{j.Random.Distribution[Read].Zones, j.Random.Distribution[Trim].Zones} },
			[2]any{[]AccessZone{{50, 5, 0}, {30, 15, 0}, {20, 80, 0}}, []AccessZone{{100, 100, 0}}},
		},
		{
			"rw=randread random_distribution=zoned_abs:60/20G:30/100G:10/500g",
			func(j *Job) any { return j.Random.Distribution[Read].Zones },
			[]AccessZone{{60, 0, 20 << 30}, {30, 0, 100 << 30}, {10, 0, 500 << 30}},
		},

		{"bs=8k", sizes, "8192-8192 8192-8192 8192-8192"},
		{"bs=8k,32k", sizes, "8192-8192 32768-32768 32768-32768"},
		{"bs=8k,32k,", sizes, "8192-8192 32768-32768 4096-4096"},
		{"bs=,8k", sizes, "4096-4096 8192-8192 8192-8192"},
		{"bs=,8k,", sizes, "4096-4096 8192-8192 4096-4096"},
		{"bs=512-8k", sizes, "512-512 8192-8192 8192-8192"},
		{"bs=4k,512-8k", sizes, "4096-4096 512-512 8192-8192"},
		{"bs=512-8k,4k", sizes, "512-512 4096-4096 4096-4096"},
		{"bs=8k-512,1k,2k", sizes, "8192-8192 1024-1024 2048-2048"},
		{"bsrange=1k-4k,8k-2k", sizes, "1024-4096 2048-8192 2048-8192"},
		{"blocksize_range=4k:8k", sizes, "4096-8192 4096-8192 4096-8192"},
		{"bssplit=4k/10:64k/50:32k/40", sizes, "4096-65536 4096-65536 4096-65536"},
		{"bssplit=4k/50:1k/:32k/", func(j *Job) any { return j.Block.Size[Read].Split }, []Weighted{{4096, 50}, {1024, 25}, {32768, 25}}},
		{"bssplit=4k", func(j *Job) any { return j.Block.Size[Trim].Split }, []Weighted{{4096, 100}}},
		{
			"bssplit=2k/50:4k/50,4k/90:8k/10",
			func(j *Job) any { return [2]any{j.Block.Size[Read].Split, j.Block.Size[Trim].Split} },
			[2]any{[]Weighted{{2048, 50}, {4096, 50}}, []Weighted{{4096, 90}, {8192, 10}}},
		},
		{"bs_unaligned", func(j *Job) any { return j.Block.Unaligned }, true},
		{"rw=randread bs_is_seq_rand=1", func(j *Job) any { return j.Block.SeqRand }, true},
		{"rw=randread ba=512", func(j *Job) any { return j.Block.Align }, PerDir[int64]{512, 512, 512}},
		{"rw=read ba=512", func(j *Job) any { return j.Block.Align }, PerDir[int64]{4096, 4096, 4096}},
		{"kb_base=1000 bs=4k", sizes, "4000-4000 4000-4000 4000-4000"},
		{"bs=4k kb_base=1000", sizes, "4000-4000 4000-4000 4000-4000"},

		{"zero_buffers", func(j *Job) any { return [2]bool{j.Buffer.Zero, j.Buffer.Scramble} }, [2]bool{true, false}},
		{"refill_buffers=1", func(j *Job) any { return j.Buffer.Refill }, true},
		{"scramble_buffers=0", func(j *Job) any { return j.Buffer.Scramble }, false},
		{`buffer_pattern="ab"0x01`, func(j *Job) any { return string(j.Buffer.Pattern.Bytes) }, "ab\x01"},
		{"rw=write buffer_pattern=1", func(j *Job) any { return j.Buffer.Refill || j.Buffer.Scramble }, false},
		{"rw=rw buffer_pattern=1", func(j *Job) any { return j.Buffer.Refill }, true},
		{"buffer_compress_percentage=50", func(j *Job) any { return [2]any{j.Buffer.Compress, j.Buffer.Refill} }, [2]any{50, true}},
		{"buffer_compress_percentage=100", func(j *Job) any { return [2]any{j.Buffer.Compress, j.Buffer.Zero} }, [2]any{0, true}},
		{"buffer_compress_percentage=50 buffer_compress_chunk=4k", func(j *Job) any { return j.Buffer.CompressChunk }, int64(4096)},
		{"dedupe_percentage=30", func(j *Job) any { return [2]any{j.Buffer.Dedupe, j.Buffer.Refill} }, [2]any{30, true}},
		{"mem=mmaphuge", func(j *Job) any { return j.Buffer.Memory }, MemoryHuge},

		{"iodepth=16 iodepth_batch=4 iodepth_low=8", func(j *Job) any { return j.Depth }, Depth{16, 4, 1, 1, 8, false}},
		{"iodepth=16 iodepth_batch=0", func(j *Job) any { return j.Depth.Batch }, 16},
		{"iodepth=16 iodepth_batch_complete=0 iodepth_batch_complete_max=8", func(j *Job) any { return j.Depth }, Depth{16, 1, 0, 8, 16, false}},
		{"iodepth=16 iodepth_batch_complete_min=4", func(j *Job) any { return j.Depth.CompleteMax }, 4},
		{"rw=randwrite iodepth=2 serialize_overlap=1", func(j *Job) any { return j.Depth.Serialize }, true},

		{"io_submit_mode=inline", func(j *Job) any { return j.Depth.IODepth }, 1},
		{"rate=1m,500k", func(j *Job) any { return j.Rate.Bytes }, PerDir[int64]{1 << 20, 500 << 10, 500 << 10}},
		{"rate=,500k", func(j *Job) any { return j.Rate.Bytes }, PerDir[int64]{0, 500 << 10, 500 << 10}},
		{"rate=500k,", func(j *Job) any { return j.Rate.Bytes }, PerDir[int64]{500 << 10, 0, 0}},
		{"rate=1m ratemin=512k", func(j *Job) any { return j.Rate.MinBytes[Read] }, int64(512 << 10)},
		{"rate_iops=100,,5", func(j *Job) any { return j.Rate.IOPS }, PerDir[int]{100, 0, 5}},
		{"rate_iops=100 rate_iops_min=50 ratecycle=500", func(j *Job) any { return [2]any{j.Rate.MinIOPS[Write], j.Rate.Cycle} }, [2]any{50, 500 * time.Millisecond}},
		{"rate_iops=100 rate_process=poisson rate_ignore_thinktime=1", func(j *Job) any { return [2]any{j.Rate.Process, j.Rate.IgnoreThink} }, [2]any{RatePoisson, true}},
		{
			"thinktime=1ms thinktime_spin=200 thinktime_blocks=4 thinktime_blocks_type=issue thinktime_iotime=2",
			func(j *Job) any { return j.Think },
			Think{time.Millisecond, 200 * time.Microsecond, 4, false, 2 * s},
		},
		{
			"latency_target=500000 latency_window=5s latency_percentile=99.9 latency_run=1",
			func(j *Job) any { return j.Latency },
			LatencyTarget{Target: 500 * time.Millisecond, Window: 5 * s, Percentile: 99.9, Run: true},
		},
		{"max_latency=10ms,20ms", func(j *Job) any { return j.Latency.Max[Trim] }, 20 * time.Millisecond},

		{"rw=write verify=crc32c-intel", func(j *Job) any { return [2]any{j.Verify.Kind, j.Verify.Interval} }, [2]any{VerifyCRC32C, int64(4096)}},
		{"rw=write verify=sha3-256 verify_interval=512 verify_offset=64", func(j *Job) any { return [2]int64{j.Verify.Interval, j.Verify.Offset} }, [2]int64{512, 64}},
		{"rw=write verify=md5 bsrange=6k-8k", func(j *Job) any { return j.Verify.Interval }, int64(2048)},
		{"rw=write verify_pattern=%o", func(j *Job) any { return [2]any{j.Verify.Kind, j.Verify.Pattern.Offsets} }, [2]any{VerifyPattern, []int{0}}},
		{"rw=write verify=meta verify_pattern=0xaa", func(j *Job) any { return j.Verify.Kind }, VerifyMeta},
		{"rw=write verify=crc32 do_verify=0 verify_fatal=1 verify_dump=1", func(j *Job) any { return [3]bool{j.Verify.Do, j.Verify.Fatal, j.Verify.Dump} }, [3]bool{false, true, true}},
		{"rw=write verify=crc32 verify_async=2 verify_async_cpus=0-1", func(j *Job) any { return [2]any{j.Verify.Async, j.Verify.AsyncCPUs} }, [2]any{2, []int{0, 1}}},
		{"rw=write verify=crc32 verify_backlog=1k", func(j *Job) any { return [2]int64{j.Verify.Backlog, j.Verify.BacklogBatch} }, [2]int64{1024, 1024}},
		{"rw=write verify=crc32 verify_backlog=8 verify_backlog_batch=4", func(j *Job) any { return j.Verify.BacklogBatch }, int64(4)},
		{"rw=write verify=crc32 verify_only", func(j *Job) any { return j.Verify.Only }, true},
		{"rw=write verify=crc32 verify_state_load=1 verify_state_save=0", func(j *Job) any { return [2]bool{j.Verify.LoadState, j.Verify.SaveState} }, [2]bool{true, false}},
		{"rw=write verify=crc32 verify_write_sequence=0 verify_header_seed=0", func(j *Job) any { return [2]bool{j.Verify.CheckWrite, j.Verify.CheckSeed} }, [2]bool{}},
		{"rw=write verify=crc32", func(j *Job) any { return j.Buffer.Refill }, true},
		{"rw=write verify=crc32 refill_buffers=0", func(j *Job) any { return j.Buffer.Refill }, false},

		{
			"read_iolog=a:b replay_no_stall=1 replay_redirect=/dev/x replay_scale=2 replay_align=4k replay_time_scale=50 replay_skip=read,sync",
			func(j *Job) any { return j.Replay },
			Replay{[]string{"a", "b"}, true, "/dev/x", 2, 4096, 50, ReplaySkip{Read: true, Sync: true}},
		},
		{
			"zonemode=strided zonesize=256m zoneskip=2g", func(j *Job) any { return j.Zone },
			Zones{Mode: ZoneStrided, Size: 256 << 20, Range: 256 << 20, Skip: Amount{Bytes: 2 << 30}},
		},
		{"zonemode=strided zonesize=1m zonerange=2m", func(j *Job) any { return j.Zone.Range }, int64(2 << 20)},

		{"cpus_allowed=0,5,8-10", func(j *Job) any { return j.CPU.Allowed }, []int{0, 5, 8, 9, 10}},
		{"cpumask=34", func(j *Job) any { return j.CPU.Allowed }, []int{1, 5}},
		{"cpus_allowed=1 cpus_allowed_policy=split", func(j *Job) any { return j.CPU.Split }, true},
		{"numa_cpu_nodes=0,2-3", func(j *Job) any { return j.CPU.NUMANodes }, []int{0, 2, 3}},
		{"numa_mem_policy=bind:0-1", func(j *Job) any { return j.CPU.MemPolicy }, MemPolicy{MemBind, []int{0, 1}}},
		{"numa_mem_policy=interleave", func(j *Job) any { return j.CPU.MemPolicy }, MemPolicy{MemInterleave, nil}},
		{"nice=-5", func(j *Job) any { return j.CPU.Nice }, -5},
		{"prio=0 prioclass=1", func(j *Job) any { return [3]any{j.CPU.Prio, j.CPU.PrioGiven, j.CPU.PrioClass} }, [3]any{0, true, 1}},

		{"continue_on_error=io", func(j *Job) any {
			return [3]bool{j.Errors.ContinueRead, j.Errors.ContinueWrite, j.Errors.ContinueVerify}
		}, [3]bool{true, true, false}},
		{
			"ignore_error=EAGAIN,ENOSPC:122,-5", func(j *Job) any { return j.Errors.Ignore },
			[3][]syscall.Errno{{syscall.EAGAIN}, {syscall.ENOSPC, syscall.EDQUOT}, {syscall.EIO}},
		},
		{"error_dump=1", func(j *Job) any { return j.Errors.Dump }, true},

		{"group_reporting", func(j *Job) any { return j.Report.Group }, true},
		{"stats=0", func(j *Job) any { return j.Report.Stats }, false},
		{"unified_rw_reporting=both", func(j *Job) any { return j.Report.Unified }, UnifiedBoth},
		{"percentile_list=50:99.5:99.999", func(j *Job) any { return [2]any{j.Report.Percentiles, j.Report.PercentilePrecision} }, [2]any{[]float64{50, 99.5, 99.999}, 3}},
		{"clat_percentiles=0 lat_percentiles=1 slat_percentiles=1", func(j *Job) any { return [3]bool{j.Report.Clat, j.Report.Lat, j.Report.Slat} }, [3]bool{false, true, true}},
		{"gtod_reduce=1", func(j *Job) any { return j.Report.GTODReduce && j.Report.DisableLat && !j.Report.Clat }, true},
		{"disable_clat=1", func(j *Job) any { return j.Report.Clat }, false},
		{"lat_percentiles=1 disable_lat=1", func(j *Job) any { return j.Report.Lat }, false},
		{"disable_slat=1 disable_bw=1", func(j *Job) any { return j.Report.DisableSlat && j.Report.DisableBW }, true},
		{"significant_figures=6 disk_util=0 unit_base=8", func(j *Job) any { return [3]any{j.Report.SignificantFigures, j.Report.DiskUtil, j.Report.UnitBase} }, [3]any{6, false, 8}},
		{"bwavgtime=100 iopsavgtime=200", func(j *Job) any { return [2]time.Duration{j.Report.BWInterval, j.Report.IOPSInterval} }, [2]time.Duration{s / 10, s / 5}},
		{
			"ss=iops:1% ss_dur=30s ss_ramp=10s ss_interval=2", func(j *Job) any { return j.Steady },
			SteadyState{SteadyIOPS, false, false, 1, true, 30 * s, 10 * s, 2 * s},
		},
		{"ss=bw_slope:10m ss_dur=10", func(j *Job) any { return j.Steady }, SteadyState{SteadyBW, true, false, 10 << 20, false, 10 * s, 0, s}},
		{"ss=lat:5ms ss_dur=10", func(j *Job) any { return j.Steady.Limit }, 5e6},
		{"ss=pts ss_dur=10", func(j *Job) any { return j.Steady.SNIA }, true},

		{
			"write_bw_log=x write_lat_log write_iops_log=y write_hist_log log_hist_msec=100 log_hist_coarseness=3",
			func(j *Job) any {
				return [6]any{j.Log.BW, j.Log.Lat, j.Log.IOPS, j.Log.Hist, j.Log.HistInterval, j.Log.HistCoarseness}
			},
			[6]any{LogFile{true, "x"}, LogFile{true, ""}, LogFile{true, "y"}, LogFile{true, ""}, 100 * time.Millisecond, 3},
		},
		{"write_bw_log log_avg_msec=200 log_max_value=1 per_job_logs=0", func(j *Job) any { return [3]any{j.Log.Interval, j.Log.Window, j.Log.PerJob} }, [3]any{s / 5, WindowMax, false}},
		{"write_bw_log log_window_value=both log_avg_msec=100", func(j *Job) any { return [2]any{j.Log.Window, j.Report.BWInterval} }, [2]any{WindowBoth, s / 10}},
		{"write_bw_log log_offset=1 log_prio=1 log_issue_time=1 log_unix_epoch=1", func(j *Job) any { return j.Log.Offset && j.Log.Prio && j.Log.IssueTime && j.Log.AltEpoch }, true},
		{"write_bw_log log_alternate_epoch=1 log_alternate_epoch_clock_id=1", func(j *Job) any { return [2]any{j.Log.AltEpoch, j.Log.Clock} }, [2]any{true, 1}},

		{"ioengine=libaio", func(j *Job) any { return [2]any{j.Engine.Kind, j.Engine.Given} }, [2]any{EngineUring, "libaio"}},
		{"ioengine=psync", func(j *Job) any { return j.Engine.Kind }, EngineThreads},
		{"ioengine=null", func(j *Job) any { return j.Engine.Kind }, EngineNull},
		{"ioengine=spdk", func(j *Job) any { return j.Engine.Kind }, EngineNVMe},
		{"ioengine=nbd uri=nbd://h", func(j *Job) any { return j.Engine.URI }, "nbd://h"},
		{"direct=1 hipri ioengine=io_uring", func(j *Job) any { return j.Engine.HiPri }, true},
		{"fixedbufs registerfiles=1", func(j *Job) any { return j.Engine.FixedBufs && j.Engine.RegisterFiles }, true},
		{"sqthread_poll_cpu=3", func(j *Job) any { return [2]any{j.Engine.SQPoll, j.Engine.SQPollCPU} }, [2]any{true, 3}},
		{"sqthread_poll", func(j *Job) any { return [2]any{j.Engine.SQPoll, j.Engine.SQPollCPU} }, [2]any{true, -1}},
		{"ioengine=libaio nowait=1", func(j *Job) any { return j.Engine.NoWait }, true},
		{"uncached=1 force_async=4", func(j *Job) any { return [2]any{j.Engine.Uncached, j.Engine.ForceAsync} }, [2]any{true, 4}},
		{"ioengine=io_uring_cmd cmd_type=nvme", func(j *Job) any { return j.Engine.CmdType }, CmdNVMe},
	}
	covered := map[string]bool{ // by tests of their own
		"wait_for": true, "filename_format": true, "exec_prerun": true, "exec_postrun": true, "dedupe_mode": true,
	}
	for _, tt := range tests {
		j := one(t, strings.Split(tt.keys, " ")...)
		if got := tt.get(&j); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, want %+v", tt.keys, got, tt.want)
		}
		for _, kv := range j.Options {
			covered[kv.Key] = true
		}
	}
	for _, o := range Options() {
		if o.Status == Honoured && !covered[o.Name] {
			t.Errorf("%s is honoured and in no test", o.Name)
		}
	}
}

func sizes(j *Job) any {
	var s []string
	for _, b := range j.Block.Size {
		s = append(s, fmt.Sprintf("%d-%d", b.Min, b.Max))
	}
	return strings.Join(s, " ")
}

func TestKinds(t *testing.T) {
	for _, v := range rwValues {
		k := one(t, "rw="+v.Name).RW.Kind
		if k.Reads() != (strings.Contains(v.Name, "read") || strings.HasSuffix(v.Name, "rw")) ||
			k.Writes() != (strings.Contains(v.Name, "write") || strings.HasSuffix(v.Name, "rw")) ||
			k.Trims() != strings.Contains(v.Name, "trim") || k.Random() != strings.HasPrefix(v.Name, "rand") {
			t.Errorf("%s: %b", v.Name, k)
		}
		if v.Name != "readwrite" && k.String() != v.Name {
			t.Errorf("%s prints as %s", v.Name, k)
		}
	}
}

func TestBadValues(t *testing.T) {
	tests := map[string]string{
		"direct=2": "must be 0 or 1", "direct=true": "must be 0 or 1", "time_based=x": "must be 0 or 1",
		"bs=0": "below the minimum 1", "bs=4k:8k": "bsrange=4k:8k", "bs=1,2,3,4": "at most 3", "bs": "needs a value", "bs=": "empty",
		"numjobs=,": "missing", "bs=,,": "missing", "iodepth=1,2": "takes one value", "iodepth=0": "below", "iodepth=-1": "below", "numjobs=0": "below", "nice=20": "above the maximum 19",
		"bsrange=4k": "must be a range", "bssplit=4k/60:8k/60": "add up to 120", "bssplit=": "empty", "bssplit=:": "lists nothing", "bssplit=4k/x": "no percentage",
		"random_distribution=zipf:1": "not 1", "random_distribution=pareto:1": "between 0 and 1", "random_distribution=normal:100": "below 100",
		"random_distribution=zipf:1.2:2": "centre", "random_distribution=zoned": "zones are missing", "random_distribution=zoned:60/10": "add up to 60",
		"random_distribution=zoned:50/60:50/60": "add up to 120", "random_distribution=random:1": "no parameter",
		"size=101%": "not between", "rw=readX": "unknown choice", "rw=randread:0": "at least 1", "rw=read:x": "missing", "replay_align=3": "power of two",
		"percentile_list=101": "not between", "percentile_list=1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17:18:19:20:21": "at most 20",
		"ss=iops": "limit is missing", "ss=iops:x": "not a number", "ss=pts:1": "takes no limit", "sync_file_range=foo:8": "unknown choice",
		"cpus_allowed=x": "no CPU", "cpus_allowed=5-2": "no range", "cpus_allowed=0-99999": "beyond", "numa_mem_policy=prefer": "one node",
		"numa_mem_policy=bind": "takes nodes", "numa_mem_policy=local:0": "no nodes", "ignore_error=EFOO": "unknown error", "ignore_error=1,2,3,4": "three lists",
		"replay_skip=foo": "unknown kind", "filename=:": "names nothing", "filename=-": "cannot be measured", "buffer_pattern=%o": "verify_pattern",
		"verify_interval=79": "below the minimum 80", "verify_offset=39": "below the minimum 40", "log_entries=10": "below", "mem=mmap:/x": "not backed",
		"runtime=10min": "unknown unit", "startdelay=1-x": "missing", "filesize=0": "below the minimum 1", "log_hist_coarseness=7": "above the maximum 6",
	}
	for key, want := range tests {
		failing(t, ErrValue, want, "[a]", key)
	}
	failing(t, ErrValue, "belongs to ioengine=nbd; that of the job is psync", "[a]", "ioengine=psync", "uri=x")
	failing(t, ErrValue, "belongs to ioengine=nbd; that of the job is chosen", "[a]", "uri=x")
	failing(t, ErrValue, "belongs to ioengine=libaio", "[a]", "ioengine=io_uring", "userspace_reap")
}

func TestRefused(t *testing.T) {
	failing(t, ErrRefused, "cgroup: known to fio, not supported", "[a]", "cgroup=x")
	failing(t, ErrRefused, "mmap is known to fio, not supported", "[a]", "ioengine=mmap")
	failing(t, ErrRefused, "external is known to fio", "[a]", "ioengine=external:/x.so")
	failing(t, ErrUnknownKey, "did you mean iodepth?", "[a]", "iodpeth=4")
	failing(t, ErrPermission, "--allow-exec", "[a]", "exec_prerun=rm -rf /")
	for _, key := range []string{"lockfile=none", "atomic=0", "write_barrier=0", "trim_percentage=0", "dedupe_mode=repeat", "zone_reset_threshold=0", "lockmem=0"} {
		plan, err := ParseFile("t.fio", strings.NewReader("[a]\n"+key+"\n"), world(nil, nil))
		if key == "zone_reset_threshold=0" { // it has no default to be
			wantError(t, err, ErrRefused, "zone_reset_threshold", key)
			continue
		}
		if err != nil || len(plan.Jobs[0].Options) != 1 {
			t.Errorf("%s asks for nothing and is refused: %v", key, err)
		}
	}
	plan, err := ParseFileWith(RunOptions{AllowExec: true}, "t.fio", strings.NewReader("[a]\nexec_prerun=sync\nexec_postrun=true\n"), world(nil, nil))
	if err != nil || plan.Jobs[0].Order.PreRun != "sync" || plan.Jobs[0].Order.PostRun != "true" {
		t.Errorf("%+v, %v", plan.Jobs, err)
	}
	_, err = ParseFile("t.fio", strings.NewReader("[a]\nioengine=rbd\npool=x\nrbdname=y\n"), world(nil, nil))
	var list ErrorList
	if !errors.As(err, &list) || len(list) != 1 {
		t.Errorf("a refused engine and its keys are one error: %v", err)
	}
}

func TestEngineKeysOfGlobalSections(t *testing.T) {
	plan := parse(t, "[global]", "direct=1", "ioengine=io_uring", "hipri", "[a]", "[b]", "ioengine=psync", "[c]", "hipri=0")
	if !plan.Jobs[0].Engine.HiPri || plan.Jobs[1].Engine.HiPri || plan.Jobs[2].Engine.HiPri {
		t.Errorf("hipri: %v %v %v", plan.Jobs[0].Engine.HiPri, plan.Jobs[1].Engine.HiPri, plan.Jobs[2].Engine.HiPri)
	}
	if len(plan.Warnings) != 1 || !strings.Contains(plan.Warnings[0], "job b: hipri from the global section is not used") {
		t.Errorf("%q", plan.Warnings)
	}
}

func TestGlobalFilenamesAreAdded(t *testing.T) {
	plan := parse(t, "[global]", "filename=a", "[one]", "filename=b", "[two]", "filename=c")
	if got := fmt.Sprint(plan.Jobs[0].Files.Names, plan.Jobs[1].Files.Names); got != "[a b] [a c]" {
		t.Error(got)
	}
}
