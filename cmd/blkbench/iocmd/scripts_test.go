package iocmd

// scripts are run by the peer and by us; a dot keeps the spaces at the beginning of a line.
var scripts = []struct {
	name     string
	args     []string
	commands string
}{
	{"rw", []string{"-f", "raw", "a.raw"}, `
		write 0 64k
		read -P 0xcd 0 64k
		read -P 1 0 64k
		read -v 0 40
		write 1 5
		write -P 0x17 512 1k
		read -P 0x17 -s 512 -l 512 0 2k
		read -P 027 -s 512 -l 512 0 2k
		read -vP 0x17 520 20
		write -s pattern 3 2500
		read -v 1000 40
		write -s /nonexistent 0 512
		write -s empty.raw 0 512
		write -s all 0 256
		read -v 0 256
		read -pq 0 512
		write -pq 0 512`},
	{"numbers", []string{"-f", "raw", "a.raw"}, `
		write 0 x
		write -1 5
		write -- -1 5
		write 0 9999999999999999999
		read 0x10 0x10
		read 0X10 0x
		read 1.5k 1k
		read 1kb 1
		read 1K 1k
		read 1e2 1
		read "0" 1
		.  read   0  1 
		.
		. 
		read .5k 1
		read 1. 1
		read 1.5 1
		read +1 1
		read 08 1
		read 0 1b
		read 0 1B
		read 0 0
		write -P 256 0 512
		write -P 0x 0 512
		write -P -1 0 512
		write -P x 0 512`},
	{"counts", []string{"-f", "raw", "a.raw"}, `
		read 0
		read
		read 0 1 2
		write
		write 0 1 2
		discard 0
		discard 0 1 2
		flush x
		truncate
		truncate 1 2 3 4
		truncate 1M 2M
		alloc
		alloc 1 2 3
		break a
		wait_break
		resume
		remove_break
		aio_flush x
		aio_read 5
		aio_write
		abort x
		close x
		length x
		map x
		info x
		quit x
		sleep
		sigraise
		help a b`},
	{"options", []string{"-f", "raw", "a.raw"}, `
		read -x 0 5
		r -x 0 5
		read -P
		read -P 1
		foo
		write -c 0 512
		write -u 0 512
		write -n 0 512
		write -nz 0 512
		write -z -P 1 0 512
		write -z -s pattern 0 512
		write -b 0 512
		read -b 0 512
		write -b 5 512
		write -bz 0 512
		write -bf 0 512
		write -cf 0 512
		write -c 1 512
		write -c 0 5
		read -b 0 5
		read -P 1 -s 5 -l 3 0 10
		read -P 0 -s 5000 -l 3 0 10
		read -P 0 -s 5 0 10
		read -P 0 -l 5 0 10
		read -P 0 -s x 0 10
		read -l 3 0 10
		read -s 3 0 10
		read -C 0 512
		write -C 0 512
		aio_read -C 0 512
		aio_flush
		read -q 0 512
		discard -C 0 512
		read 0 512 -q
		discard -x 0 512`},
	{"limits", []string{"-f", "raw", "a.raw"}, `
		write 1M 512
		read 1M 512
		read 1M 0
		write 1M 0
		read 1023k 2k
		write 1023k 2k
		discard 1023k 2k
		discard 0 8G
		read 0 3G
		write 0 3G
		write -z 0 3G
		write -zn 0 3G
		writev 0 1G 1G 1G
		writev 0 3G
		readv 0 3G
		aio_read 0 3G
		aio_write -z 0 3G
		aio_flush
		write 0 0
		read 0 0
		discard 0 0
		write -z 0 0`},
	{"durability", []string{"-f", "raw", "a.raw"}, `
		write -f 0 512
		write -z -f 0 512
		write -zu 0 64k
		write -fu 0 512
		flush
		f
		writev -f 0 512 512
		aio_write -f 0 512
		aio_flush`},
	{"vectors", []string{"-f", "raw", "a.raw"}, `
		writev 0 512 512
		readv -v 0 16 32
		readv 0
		readv 0 0
		readv -P 0xcd 0 512 512
		readv -P 1 0 512 512
		writev -P 3 0 x
		writev -P 3 x 512
		writev -z 0 512
		readv -q 0 512
		writev -qP 7 512 512
		readv -C 0 512`},
	{"aio", []string{"-f", "raw", "a.raw"}, `
		aio_write 0 512
		aio_flush
		aio_read -P 1 0 512
		aio_flush
		aio_read -v 0 16
		aio_flush
		aio_write -z 0 512 512
		aio_write -u 0 512
		aio_write -z 0 512
		aio_flush
		aio_write x 5
		aio_read x 5
		aio_read -q 0 2M
		aio_flush
		aio_write -q 0 2M
		aio_flush
		aio_read -qP 0 0 512
		aio_flush`},
	{"space", []string{"-f", "qcow2", "a.q"}, `
		write -c 0 64k
		write -c 0 512
		write -c 1M 64k
		write -z 64k 64k
		write -z -u 64k 64k
		discard 0 64k
		map
		alloc 0 1M
		alloc 0
		a 64k 512
		alloc 1M 1
		alloc 2M
		alloc 0 2M
		alloc x
		alloc 0 x
		length
		truncate 2M
		l
		truncate x
		truncate -m foo 3M
		truncate -m full 3M
		map
		truncate -m falloc 4M
		truncate -m metadata 5M
		truncate -m full 1M
		truncate 100
		truncate 512
		length
		map`},
	{"space of raw", []string{"-f", "raw", "a.raw"}, `
		map
		alloc 3 5
		truncate 2M
		truncate -m full 3M
		truncate -m metadata 4M
		truncate -m falloc 1M
		truncate 100
		length
		map
		truncate 0
		map
		alloc 0
		length`},
	{"odd size", []string{"-f", "raw", "odd.raw"}, `
		length
		map
		alloc 0 1M
		alloc 99990 100
		read -v 99990 30
		read 99990 362
		read 99990 363
		read 100352 1`},
	{"chain", []string{"-f", "qcow2", "o.q"}, `
		map
		read -v 100 20
		write -P 9 5000 100
		map
		alloc 4096 100
		read -v 4990 32
		read -P 0 1M 1M
		discard 4k 4k
		read -v 4096 20
		map`},
	{"subclusters", []string{"-f", "qcow2", "x.q"}, `
		write 600 100
		map
		write -z 16k 512
		map
		discard 0 512
		map`},
	{"compressed", []string{"-f", "qcow2", "a.q"}, `
		write -c -P 1 0 64k
		write -c -P 2 64k 64k
		write -c -s pattern 128k 64k
		read -P 1 0 64k
		read -v 131000 100
		write -P 3 60k 8k
		read -P 1 0 60k
		read -P 3 60k 8k
		read -P 2 68k 60k
		write -c 5 64k
		write -c 960k 128k
		map`},
	{"version 2", []string{"-f", "qcow2", "old.q"}, `
		write 0 64k
		write -z 0 64k
		discard 0 64k
		map`},
	{"close and open", []string{"-f", "qcow2", "a.q"}, `
		close
		length
		open a.raw
		open a.raw
		write 512 512
		write 0 512
		write -P 0x51 0 1
		close
		close
		o -r a.raw
		write 0 512
		quit
		length`},
	{"nothing open", nil, `
		length
		close
		reopen -r
		open
		open nofile
		open -x a.q
		open -t foo a.q
		open -d foo a.q
		open -i foo a.q
		open a.q b.q
		open -U a.q
		open -k a.q
		open -rU a.q
		length
		c
		open -n a.q
		write 0 512
		c
		open -t none -d unmap -i threads a.q
		write 0 10`},
	{"open options", nil, `
		open -o driver=raw a.raw
		length
		close
		open -o driver=raw -o offset=512 a.raw
		length
		reopen -o offset=1024
		length
		close
		open -o driver=raw,file.filename=a.raw
		length
		reopen
		reopen -o driver=qcow2
		length
		close
		open -o driver=qcow2,backing.driver=raw,backing.file.filename=a.raw o.q
		read -v 0 16`},
	{"reopen", []string{"-f", "raw", "a.raw"}, `
		reopen
		reopen -r
		write 0 512
		truncate 5M
		discard 0 512
		read 0 512
		reopen -w
		write 0 512
		reopen -r -w
		reopen -r -r
		reopen -c foo
		reopen -c none
		reopen -o foo=bar
		reopen -z
		reopen a
		reopen -o cache.direct=on -c none
		reopen -r -o read-only=off
		reopen -o read-only=on
		write 0 512
		reopen -w
		write 0 512
		read -P 0xcd 0 512`},
	{"reopen qcow2", []string{"-f", "qcow2", "a.q"}, `
		write -P 1 0 64k
		reopen -r
		read -P 1 0 64k
		write 0 512
		reopen -w
		write -P 2 64k 64k
		reopen -c writethrough -o lazy-refcounts=on
		write -P 3 128k 64k
		reopen -c none -c writeback
		read -P 1 0 64k
		read -P 2 64k 64k
		read -P 3 128k 64k
		map`},
	{"reopen from reading", []string{"-r", "-f", "qcow2", "a.q"}, `
		write 0 512
		reopen -w
		write 0 512
		read -P 0xcd 0 512`},
	{"breakpoints without any", []string{"-f", "raw", "a.raw"}, `
		break a b
		resume x
		remove_break x`},
	{"process", []string{"-f", "raw", "a.raw"}, `
		sleep 1
		sleep x
		sleep 0x1
		sigraise x
		sigraise 99
		sigraise 0
		sigraise 17
		help foo
		help help
		help quit
		help flush
		help map
		help length
		help sleep
		help truncate
		quit`},
	{"help", []string{"-f", "raw", "a.raw"}, `
		help
		?`},
	{"info", []string{"-f", "raw", "a.raw"}, `
		info
		i`},
	{"info of qcow2", []string{"-f", "qcow2", "a.q"}, "info"},
	{"info of subclusters", []string{"-f", "qcow2", "x.q"}, "info"},
	{"info of version 2", []string{"-f", "qcow2", "old.q"}, "info"},
	{"info of a chain", []string{"-f", "qcow2", "o.q"}, "info"},
	{"info of an overlay", []string{"-s", "-f", "raw", "a.raw"}, "info"},
	{"copy on read", []string{"-C", "-f", "qcow2", "o.q"}, "map\nread -v 5000 16\nmap"},
	{"breakpoints", []string{"-f", "raw", "blkdebug::a.raw"}, `
		length
		break foo a
		break pwritev A
		aio_write 0 512
		wait_break A
		resume A
		aio_flush
		remove_break A
		resume B
		break pwritev A
		remove_break A
		write 512 512`},
	{"sigterm", []string{"-f", "raw", "a.raw"}, "write 0 512\nsigraise 15"},
	{"sigkill", []string{"-f", "raw", "a.raw"}, "sigraise 9"},
	{"abort", []string{"-f", "raw", "a.raw"}, "abort"},
	{"snapshot", []string{"-s", "-f", "raw", "a.raw"}, "write -P 99 0 512\nread -P 99 0 512\nread -P 0 512 512"},
	{"no such file", []string{"nofile"}, "length"},
	{"no such cache", []string{"-t", "foo", "a.raw"}, "length"},
	{"no such discard", []string{"-d", "foo", "a.raw"}, "length"},
	{"no such aio", []string{"-i", "foo", "a.raw"}, "length"},
	{"image-opts and format", []string{"--image-opts", "-f", "raw", "a.raw"}, "length"},
	{"image-opts", []string{"--image-opts", "driver=raw,file.filename=a.raw"}, "length\nclose\nopen driver=raw,file.filename=a.raw,offset=512\nlength"},
	{"image-opts of open", []string{"--image-opts"}, "open -o foo=bar driver=raw\nlength"},
	{"force-share to write", []string{"-U", "a.raw"}, "length"},
	{"force-share", []string{"-U", "-r", "a.raw"}, "length"},
	{"probed raw", []string{"a.raw"}, "length\nwrite 0 512\nwrite -P 0 0 512\nwrite 512 512"},
	{"probed qcow2", []string{"a.q"}, "length\nwrite 0 512"},
	{"direct", []string{"-n", "-f", "raw", "a.raw"}, "write 0 512\nwrite 0 10\nread -v 3 10"},
	{"misaligned", []string{"-m", "-n", "-f", "raw", "a.raw"}, "write 0 512\nread -v 0 16"},
	{"native", []string{"-k", "-f", "raw", "a.raw"}, "length"},
	{"native direct", []string{"-n", "-k", "-f", "raw", "a.raw"}, "write 0 512"},
	{"abbreviated", []string{"--read", "--form", "raw", "a.raw"}, "length\nwrite 0 512"},
	{"json name", []string{`json:{"driver":"raw","file.filename":"a.raw"}`}, "length"},
	{"json name of nothing", []string{`json:{"driver":"raw","file.filename":"nofile"}`}, "length"},
	{"secret", []string{"--object", "secret,id=s0,data=x", "-f", "raw", "a.raw"}, "length"},
	{"no image", nil, "length\nwrite 0 5"},
}
