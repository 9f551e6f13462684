package bench

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/bench/fiojob"
)

// TestEveryHonouredKeyHasATestOfItsEffect holds the table of keys against the tests of this folder: each honoured key has a test that runs
// a job with it and looks at what comes of it, named in effects, and effects has no others.
func TestEveryHonouredKeyHasATestOfItsEffect(t *testing.T) {
	tests := testSources(t)
	seen := map[string]bool{}
	for _, o := range fiojob.Options() {
		if o.Status != fiojob.Honoured {
			continue
		}
		seen[o.Name] = true
		name := effects[o.Name]
		body, ok := tests[name]
		spelled := func(key string) bool { return strings.Contains(body, key) }
		switch {
		case name == "":
			t.Errorf("%s is honoured, and no test of its effect is named", o.Name)
		case !ok:
			t.Errorf("%s: there is no %s", o.Name, name)
		case !slices.ContainsFunc(append([]string{o.Name}, o.Aliases...), spelled):
			t.Errorf("%s: %s does not use it", o.Name, name)
		}
	}
	for key := range effects {
		if !seen[key] {
			t.Errorf("%s has a test of its effect and is not honoured", key)
		}
	}
}

// testSources are the test functions of this folder by name, as written.
func testSources(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, name, text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
				out[fn.Name.Name] = string(text[fset.Position(fn.Body.Pos()).Offset:fset.Position(fn.Body.End()).Offset])
			}
		}
	}
	return out
}

// effects names the test of each key.
var effects = map[string]string{
	"allow_file_create":            "TestFilesComeAndGo",
	"allrandrepeat":                "TestRandomRepeats",
	"ba":                           "TestBlockAlign",
	"bs":                           "TestBlockSizes",
	"bs_is_seq_rand":               "TestBlockSizeBySequentialAndRandom",
	"bs_unaligned":                 "TestBlockSizes",
	"bsrange":                      "TestBlockSizes",
	"bssplit":                      "TestBlockSizes",
	"buffer_compress_chunk":        "TestBuffers",
	"buffer_compress_percentage":   "TestBuffers",
	"buffer_pattern":               "TestBuffers",
	"buffered":                     "TestPageCacheKeys",
	"bwavgtime":                    "TestAveragingTimes",
	"clat_percentiles":             "TestReportKeysReachTheResult",
	"continue_on_error":            "TestContinueOnError",
	"cpumask":                      "TestWhereAThreadRuns",
	"cpus_allowed":                 "TestWhereAThreadRuns",
	"cpus_allowed_policy":          "TestWhereAThreadRuns",
	"create_fsync":                 "TestSystemCallsOfKeys",
	"create_on_open":               "TestFilesComeAndGo",
	"create_only":                  "TestFilesComeAndGo",
	"dedupe_percentage":            "TestBuffers",
	"description":                  "TestStatsOffLeavesTheJobOut",
	"direct":                       "TestPageCacheKeys",
	"directory":                    "TestDirectoriesAreTakenInTurn",
	"disable_bw_measurement":       "TestWhatIsNotMeasured",
	"disable_clat":                 "TestWhatIsNotMeasured",
	"disable_lat":                  "TestWhatIsNotMeasured",
	"disable_slat":                 "TestWhatIsNotMeasured",
	"disk_util":                    "TestDiskUtil",
	"do_verify":                    "TestDoVerifyOffWritesOnly",
	"end_fsync":                    "TestFsyncAfterSoManyWrites",
	"error_dump":                   "TestContinueOnError",
	"exec_postrun":                 "TestCommandsBeforeAndAfter",
	"exec_prerun":                  "TestCommandsBeforeAndAfter",
	"exit_what":                    "TestExitAllEndsTheOthers",
	"exitall":                      "TestExitAllEndsTheOthers",
	"exitall_on_error":             "TestExitAllOnError",
	"fadvise_hint":                 "TestSystemCallsOfKeys",
	"fallocate":                    "TestSystemCallsOfKeys",
	"fdatasync":                    "TestFsyncAfterSoManyWrites",
	"file_append":                  "TestFileAppendWritesBehindTheEnd",
	"file_service_type":            "TestFileServiceTypes",
	"filename":                     "TestFilesAreMadeAndNamed",
	"filename_format":              "TestFilesAreMadeAndNamed",
	"filesize":                     "TestFileSizes",
	"fill_device":                  "TestFillDeviceEndsWhereThereIsNoSpace",
	"fixedbufs":                    "TestRingKeys",
	"flow":                         "TestFlowKeepsProportions",
	"flow_id":                      "TestFlowKeepsProportions",
	"flow_sleep":                   "TestFlowKeepsProportions",
	"force_async":                  "TestRingKeys",
	"fsync":                        "TestFsyncAfterSoManyWrites",
	"fsync_on_close":               "TestFsyncAfterSoManyWrites",
	"group_reporting":              "TestGroupReportingAddsUp",
	"gtod_reduce":                  "TestWhatIsNotMeasured",
	"hipri":                        "TestCompletions",
	"ignore_error":                 "TestContinueOnError",
	"invalidate":                   "TestPageCacheKeys",
	"io_size":                      "TestSpans",
	"io_submit_mode":               "TestIOSubmitModeOffloadMeasuresFromThePlan",
	"iodepth":                      "TestIODepthLowDrainsBeforeItFills",
	"iodepth_batch":                "TestBatches",
	"iodepth_batch_complete_max":   "TestCompletions",
	"iodepth_batch_complete_min":   "TestCompletions",
	"iodepth_low":                  "TestIODepthLowDrainsBeforeItFills",
	"ioengine":                     "TestEngines",
	"iopsavgtime":                  "TestAveragingTimes",
	"kb_base":                      "TestKBBaseSaysWhatKMeans",
	"lat_percentiles":              "TestReportKeysReachTheResult",
	"latency_percentile":           "TestLatencyTargetFindsTheDepth",
	"latency_run":                  "TestLatencyTargetFindsTheDepth",
	"latency_target":               "TestLatencyTargetFindsTheDepth",
	"latency_window":               "TestLatencyTargetFindsTheDepth",
	"log_alternate_epoch":          "TestLogNamesAndEpochs",
	"log_alternate_epoch_clock_id": "TestLogNamesAndEpochs",
	"log_avg_msec":                 "TestLogsOfWindows",
	"log_hist_coarseness":          "TestHistogramLogs",
	"log_hist_msec":                "TestHistogramLogs",
	"log_issue_time":               "TestLogsOfEveryRequest",
	"log_max_value":                "TestLogsOfWindows",
	"log_offset":                   "TestLogsOfEveryRequest",
	"log_prio":                     "TestLogsOfEveryRequest",
	"log_unix_epoch":               "TestLogNamesAndEpochs",
	"loops":                        "TestLoopsRepeatTheWork",
	"max_latency":                  "TestMaxLatencyEndsTheJob",
	"mem":                          "TestMemHugeTakesHugePages",
	"name":                         "TestFilesAreMadeAndNamed",
	"new_group":                    "TestGroupReportingAddsUp",
	"nice":                         "TestWhereAThreadRuns",
	"norandommap":                  "TestNoRandomMapRepeatsBlocks",
	"nowait":                       "TestNoWaitFailsRatherThanWaits",
	"nrfiles":                      "TestFilesAreMadeAndNamed",
	"numa_cpu_nodes":               "TestWhereAThreadRuns",
	"numa_mem_policy":              "TestWhereAThreadRuns",
	"number_ios":                   "TestNumberIOsEndsTheJob",
	"numjobs":                      "TestNumJobsRunSideBySide",
	"offset":                       "TestSpans",
	"offset_align":                 "TestSpans",
	"offset_increment":             "TestSpans",
	"opendir":                      "TestOpenDirUsesEveryFile",
	"openfiles":                    "TestOpenFilesBoundsHowManyAreOpen",
	"overwrite":                    "TestOverwriteLaysOutBeforeWriting",
	"per_job_logs":                 "TestLogNamesAndEpochs",
	"percentage_random":            "TestPercentageRandom",
	"percentile_list":              "TestReportKeysReachTheResult",
	"pre_read":                     "TestPageCacheKeys",
	"prio":                         "TestWhereAThreadRuns",
	"prioclass":                    "TestWhereAThreadRuns",
	"ramp_time":                    "TestRuntimeAndRamp",
	"random_distribution":          "TestRandomDistributions",
	"randrepeat":                   "TestRandomRepeats",
	"randseed":                     "TestRandomRepeats",
	"rate":                         "TestRates",
	"rate_cycle":                   "TestLeastRates",
	"rate_ignore_thinktime":        "TestRateIgnoresThinktimeOnlyWhenTold",
	"rate_iops":                    "TestRates",
	"rate_iops_min":                "TestLeastRates",
	"rate_min":                     "TestLeastRates",
	"rate_process":                 "TestRateProcessPoisson",
	"read_iolog":                   "TestReplayPlaysATrace",
	"refill_buffers":               "TestBuffers",
	"registerfiles":                "TestRingKeys",
	"replay_align":                 "TestReplayOptions",
	"replay_no_stall":              "TestReplayKeepsTheRecordedTimes",
	"replay_redirect":              "TestReplayOptions",
	"replay_scale":                 "TestReplayOptions",
	"replay_skip":                  "TestReplayOptions",
	"replay_time_scale":            "TestReplayKeepsTheRecordedTimes",
	"runtime":                      "TestRuntimeAndRamp",
	"rw":                           "TestRWDirections",
	"rw_sequencer":                 "TestSequencer",
	"rwmixread":                    "TestRWMixKeepsItsShares",
	"rwmixwrite":                   "TestRWMixKeepsItsShares",
	"scramble_buffers":             "TestBuffers",
	"serialize_overlap":            "TestSerializeOverlapHoldsBack",
	"size":                         "TestFileSizes",
	"slat_percentiles":             "TestReportKeysReachTheResult",
	"sqthread_poll":                "TestRingKeys",
	"sqthread_poll_cpu":            "TestRingKeys",
	"startdelay":                   "TestStartDelay",
	"stats":                        "TestStatsOffLeavesTheJobOut",
	"steadystate":                  "TestSteadyStateEndsTheJob",
	"steadystate_check_interval":   "TestSteadyStateEndsTheJob",
	"steadystate_duration":         "TestSteadyStateEndsTheJob",
	"steadystate_ramp_time":        "TestSteadyStateEndsTheJob",
	"stonewall":                    "TestStonewallWaitsForAllBefore",
	"sync":                         "TestSyncMakesEachWriteDurable",
	"sync_file_range":              "TestSystemCallsOfKeys",
	"thinktime":                    "TestThinktime",
	"thinktime_blocks":             "TestThinktime",
	"thinktime_blocks_type":        "TestThinktime",
	"thinktime_iotime":             "TestThinktime",
	"thinktime_spin":               "TestThinktimeSpinComputes",
	"time_based":                   "TestRuntimeAndRamp",
	"uncached":                     "TestPageCacheKeys",
	"unified_rw_reporting":         "TestReportKeysReachTheResult",
	"unlink":                       "TestFilesComeAndGo",
	"unlink_each_loop":             "TestFilesComeAndGo",
	"uri":                          "TestURINamesTheServer",
	"verify":                       "TestVerifyReadsBackEveryBlockAfterWriting",
	"verify_async":                 "TestVerifyAsyncChecksOnOtherThreads",
	"verify_async_cpus":            "TestVerifyAsyncChecksOnOtherThreads",
	"verify_backlog":               "TestVerifyBacklogReadsBackInBetween",
	"verify_backlog_batch":         "TestVerifyBacklogReadsBackInBetween",
	"verify_dump":                  "TestVerifyDumpKeepsEveryBadBlock",
	"verify_fatal":                 "TestVerifyGoesOnToTheEndUnlessFatal",
	"verify_header_seed":           "TestReadingJobVerifiesWhatItReads",
	"verify_interval":              "TestVerifyIntervalAndOffsetPlaceHeaders",
	"verify_offset":                "TestVerifyIntervalAndOffsetPlaceHeaders",
	"verify_only":                  "TestVerifyOnlyChecksAnEarlierRun",
	"verify_pattern":               "TestVerifyPatternIsWhatIsWritten",
	"verify_state_load":            "TestVerifyStateOfAnInterruptedRunIsCheckedLater",
	"verify_state_save":            "TestVerifyStateSaveOffKeepsNothing",
	"verify_write_sequence":        "TestVerifyWriteSequenceOffAcceptsOlderWrites",
	"wait_for":                     "TestStonewallWaitsForAllBefore",
	"write_bw_log":                 "TestLogsOfWindows",
	"write_hint":                   "TestSystemCallsOfKeys",
	"write_hist_log":               "TestHistogramLogs",
	"write_iops_log":               "TestLogsOfWindows",
	"write_lat_log":                "TestLogsOfEveryRequest",
	"zero_buffers":                 "TestBuffers",
	"zonemode":                     "TestZonemodeStrided",
	"zonerange":                    "TestZonemodeStrided",
	"zonesize":                     "TestZonemodeStrided",
	"zoneskip":                     "TestZonemodeStrided",
}
