// Package opts is the one option grammar: everything a user writes to name a
// target or to set an option ends up as a [Tree] here, and everything a driver
// reads comes out of one. It is pure: no I/O, no environment, no clock.
//
// Four nouns:
//
//   - A [Tree] is an object node: ordered keys, each with a [Value] (a scalar
//     whose JSON kind is kept, a *Tree, or a [List]).
//   - A spelling is one of the ways to write a tree. [ParseKeyval] reads
//     "cluster_size=64k,encrypt.format=luks", [ParseImageOpts] reads
//     "driver=qcow2,file.driver=nbd,file.server.0.host=h" and the mixed
//     "file=URI,file.debug=9", [ParseJSON] reads an object, [ParseName] reads
//     what stands for a target: a path, PROTO:…, a URI, json:{…}.
//     [ParseObject] and [ParseConfig] read --object and -readconfig.
//   - An option struct is a driver's side: [Tree.Bind] fills it by its tags and
//     consumes the keys, [Tree.Unused] refuses what nobody consumed,
//     [Describe] turns the same tags into help, documentation and completion.
//   - A [Secret] never prints. Trees name secrets by id; [Tree.Redacted] and
//     every error hide the values that were written in the clear.
//
// One meaning has one tree: a URI, its key=value spelling and its JSON spelling
// compare equal ([Tree.Equal]) because scalars that were not written in JSON
// are strings, and because [Tree.Normalize] rewrites the spellings of older
// manuals (nbd host=, ssh host_key_check=, gluster type=tcp) into today's.
// Underscore and hyphen are the same letter in a key; the spelling that was
// written is kept for messages and for [Tree.Canonical].
//
// The grammar is QEMU's (7.2: qemu-options, keyval.c, block.c, the drivers'
// own file name parsers), with these differences, each on purpose:
//
//   - A key that is given twice is an error; QEMU takes the last one.
//   - A key without a value is an error; QEMU reads it as KEY=on, deprecated.
//   - A size with a fraction is exact; QEMU goes through a double.
//   - A hexadecimal size takes no suffix; QEMU warns.
//   - Unknown query parameters of a URI are refused by name for all schemes.
//   - nbds, nbds+unix, sheepdog (gone from QEMU 6.1 on) and nvme+vfio-user are
//     schemes here; sheepdog's two older colon forms too.
//   - A name whose part before the colon holds anything but letters, digits,
//     '+', '-', '.' and '_' is a path, as is one that begins with a colon.
//   - fat: takes its options in any order and refuses one it does not know;
//     a directory may contain colons.
//   - JSON takes double quotes only.
//   - file=, backing= and data-file= take any name where QEMU's blockdev syntax
//     takes a node-name. What could be either (no slash, no colon) stays a
//     string below a node that has a driver; the engine knows the nodes.
//
// Bounds: input 256 KiB, depth 32, 1024 keys in an object or elements in a
// list, dense list indices. Everything the parsers build is linear in the
// input. A Tree is for one goroutine at a time.
package opts
