package fiojob

// otherOptions are keys of fio that belong to engines and profiles there is no
// counterpart of; they are listed so that a job file that has them is told why.
var otherOptions = buildOtherOptions()

// foreignKeys lists them by owner.
var foreignKeys = []struct {
	owner string
	names []string
}{
	{"cpuio", []string{"cpuload", "cpuchunks", "cpumode", "exit_on_io_done"}},
	{"net or rdma", []string{"hostname", "port"}},
	{"net", []string{"interface", "listen", "mss", "nodelay", "pingpong", "protocol", "proto", "ttl", "window_size"}},
	{"rdma", []string{"bindname", "verb"}},
	{"librpma", []string{"busy_wait_polling", "direct_write_to_pmem", "serverip"}},
	{"e4defrag", []string{"donorname", "inplace"}},
	{"exec", []string{"program", "arguments", "grace_time", "std_redirect"}},
	{"filestat", []string{"stat_type"}},
	{"gfapi", []string{"volume", "brick", "single-instance"}},
	{"http", []string{
		"https", "http_host", "http_mode", "http_user", "http_pass", "http_verbose", "http_swift_auth_token", "http_s3_key", "http_s3_keyid",
		"http_s3_region", "http_s3_storage_class", "http_s3_sse_customer_key", "http_s3_sse_customer_algorithm",
	}},
	{"libhdfs", []string{"namenode", "hdfsdirectory", "hdfs_use_direct", "single_instance"}},
	{"dfs", []string{"cont", "chunk_size", "object_class", "svcl"}},
	{"libcufile", []string{"gpu_dev_ids", "cuda_io"}},
	{"mmap", []string{"thp"}},
	{"mtd", []string{"skip_bad"}},
	{"nfs", []string{"nfs_url"}},
	{"rbd", []string{"rbdname"}},
	{"rbd, rados or dfs", []string{"clientname", "clustername", "pool", "busy_poll"}},
	{"rados", []string{"conf", "touch_objects"}},
	{"rdma", []string{"gpu_dev_id"}},
	{"sg", []string{"sg_write_mode", "stream_id"}},
	{"windowsaio", []string{"no_completion_thread"}},
	{"xnvme", []string{"xnvme_async", "xnvme_sync", "xnvme_admin", "xnvme_be", "xnvme_dev_nsid", "xnvme_iovec", "xnvme_mem", "xnvme_dev_subnqn"}},
	{"libblkio", []string{
		"libblkio_driver", "libblkio_path", "libblkio_pre_connect_props", "libblkio_num_entries", "libblkio_queue_size", "libblkio_pre_start_props",
		"libblkio_vectored", "libblkio_write_zeroes_on_trim", "libblkio_wait_mode", "libblkio_force_enable_completion_eventfd",
	}},
}

func buildOtherOptions() []Option {
	rows := []Option{
		{
			Name: "profile", Kind: KindString, Status: Refused,
			Note: "the profiles tiobench and act are not built in",
			Help: "run a workload that is built into fio",
		},
		{
			Name: "threads", Kind: KindInt, Status: Equivalent,
			Note: "it belongs to fio's profile tiobench and does nothing without it; for jobs as threads there is thread, for many of them numjobs",
			Help: "threads of the profile tiobench",
		},
	}
	for _, f := range foreignKeys {
		for _, name := range f.names {
			rows = append(rows, Option{
				Name: name, Kind: KindString, BareOK: true, Status: Refused,
				Note: "it belongs to fio's " + f.owner + " engine, which is not supported",
				Help: "option of the " + f.owner + " engine",
			})
		}
	}
	return rows
}
