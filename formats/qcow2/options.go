package qcow2

import (
	"context"
	"errors"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/opts"
)

// OpenOptions are the options of a qcow2 node. The children file, backing and data-file come besides.
type OpenOptions struct {
	LazyRefcounts      opts.OptBool `opt:"lazy-refcounts" help:"write refcounts when the image is closed; as the image says where absent"`
	PassDiscardRequest opts.OptBool `opt:"pass-discard-request" help:"deallocate discarded clusters in the file (default: as discard=)"`
	PassDiscardSnap    opts.OptBool `opt:"pass-discard-snapshot" help:"deallocate in the file what a deleted snapshot frees (default: on)"`
	PassDiscardOther   opts.OptBool `opt:"pass-discard-other" help:"deallocate in the file what is freed otherwise (default: off)"`
	OverlapCheck       opts.Value   `opt:"overlap-check" help:"which writes over metadata are refused: none, constant, cached, all; here always cached"`
	CacheSize          *int64       `opt:"cache-size" kind:"size" min:"0" help:"memory for L2 tables and refcount blocks together"`
	L2CacheSize        *int64       `opt:"l2-cache-size" kind:"size" min:"0" help:"memory for L2 tables (default: 32M)"`
	L2CacheEntrySize   *int64       `opt:"l2-cache-entry-size" kind:"size" help:"taken and not used: a table is read in parts of up to 64K"`
	RefcountCacheSize  *int64       `opt:"refcount-cache-size" kind:"size" min:"0" help:"memory for refcount blocks"`
	CleanInterval      *int64       `opt:"cache-clean-interval" min:"0" help:"taken and not used: the cache never exceeds its size"`
	FastWrites         opts.OptBool `opt:"fast-writes" help:"writes of allocated clusters go in place without a lock"`
	CompressionLevel   int          `opt:"compression-level" min:"0" max:"22" default:"0" help:"for compressed writes: 0 is balanced"`
	CompressionWindow  int64        `opt:"compression-window" kind:"size,pow2" min:"512" max:"32k" default:"4k" help:"zlib: bytes to look back; QEMU reads up to 4k"`
}

// CreateOptions are the options of a new image, by qemu-img's names. NoCow is the file's own, to be taken by it when it is made.
type CreateOptions struct {
	Compat          string       `opt:"compat" default:"1.1" enum:"0.10,1.1,v2,v3" help:"compatibility level"`
	BackingFile     string       `opt:"backing_file" help:"file name of a base image"`
	BackingFmt      string       `opt:"backing_fmt" help:"format of the base image"`
	ClusterSize     int64        `opt:"cluster_size" kind:"size" default:"64k" help:"allocation unit, 512 to 2M"`
	RefcountBits    int          `opt:"refcount_bits" default:"16" help:"width of a reference count, 1 to 64"`
	LazyRefcounts   opts.OptBool `opt:"lazy_refcounts" help:"postpone refcount updates"`
	ExtendedL2      opts.OptBool `opt:"extended_l2" help:"subclusters"`
	CompressionType string       `opt:"compression_type" default:"zlib" enum:"zlib,zstd" help:"method of compressed clusters"`
	DataFile        string       `opt:"data_file" help:"file name of an external data file"`
	DataFileRaw     opts.OptBool `opt:"data_file_raw" help:"the external data file stays valid as a raw image"`
	Preallocation   string       `opt:"preallocation" default:"off" enum:"off,metadata,falloc,full" help:"how space is provided"`
	NoCow           opts.OptBool `opt:"nocow" help:"turn copy-on-write off for the file (btrfs, empty files)"`
	Encryption      opts.OptBool `opt:"encryption" help:"encrypt with aes (deprecated in favour of encrypt.format)"`
	Encrypt         *opts.Tree   `opt:"encrypt" help:"encryption: format=luks|aes and its options"`
}

// AmendOptions are the create options that can be changed later.
type AmendOptions struct {
	Compat        string       `opt:"compat" enum:"0.10,1.1,v2,v3" help:"compatibility level"`
	BackingFile   *string      `opt:"backing_file" help:"file name of a base image"`
	BackingFmt    *string      `opt:"backing_fmt" help:"format of the base image"`
	LazyRefcounts opts.OptBool `opt:"lazy_refcounts" help:"postpone refcount updates"`
	RefcountBits  int          `opt:"refcount_bits" help:"width of a reference count, 1 to 64"`
	DataFile      *string      `opt:"data_file" help:"file name of an external data file"`
	DataFileRaw   opts.OptBool `opt:"data_file_raw" help:"the external data file stays valid as a raw image"`
	Encrypt       *opts.Tree   `opt:"encrypt" help:"key slots"`
}

// Driver is the registry's entry.
func Driver() engine.Driver {
	return engine.Define[OpenOptions, CreateOptions](engine.Driver{
		Name: "qcow2", Kind: engine.KindFormat, Help: "QEMU's image format: snapshots, compression, backing files",
		Probe: Probe, AmendOpts: new(AmendOptions), Measure: measure,
	}, open, create)
}

// Probe recognises an image by magic and version.
func Probe(head []byte, _ string) int {
	if len(head) >= 8 && be.Uint32(head) == Magic && be.Uint32(head[4:]) >= 2 {
		return 100
	}
	return 0
}

// config turns options into a Config.
func (o *OpenOptions) config(flags engine.OpenFlags) Config {
	c := DefaultConfig()
	if l := o.LazyRefcounts; l.Given {
		c.LazyRefcounts = &l.On
	}
	c.PassDiscardRequest = o.PassDiscardRequest.Or(flags.Discard)
	c.PassDiscardSnap = o.PassDiscardSnap.Or(true)
	c.PassDiscardOther = o.PassDiscardOther.Or(true)
	c.FastWrites = o.FastWrites.Or(true)
	c.CompressionLevel, c.CompressionWindow = o.CompressionLevel, int(o.CompressionWindow)
	if o.CacheSize != nil {
		c.L2CacheBytes, c.RefcountCacheBytes = *o.CacheSize*4/5, *o.CacheSize/5
	}
	if o.L2CacheSize != nil {
		c.L2CacheBytes = *o.L2CacheSize
	}
	if o.RefcountCacheSize != nil {
		c.RefcountCacheBytes = *o.RefcountCacheSize
	}
	return c
}

func open(ctx context.Context, r *engine.OpenRequest, o *OpenOptions) (engine.Node, error) {
	if o.CacheSize != nil && o.L2CacheSize != nil && o.RefcountCacheSize != nil {
		return nil, engine.Errf(engine.ErrOption, "cache-size, l2-cache-size and refcount-cache-size may not be set at the same time")
	}
	file, err := r.MustChild(ctx, "file", engine.RoleStorage)
	if err != nil {
		return nil, err
	}
	p := Parts{
		File: file, Write: r.Flags.Write && file.Writable(), Check: r.Flags.Check, NoIO: r.Flags.NoIO, Config: o.config(r.Flags),
	}
	if err := openChildren(ctx, r, &p); err != nil {
		p.close()
		return nil, err
	}
	return New(ctx, p)
}

// openChildren reads the header and opens what it refers to; options of the node come before what the image says.
func openChildren(ctx context.Context, r *engine.OpenRequest, p *Parts) error {
	h, err := ReadHeader(ctx, p.File, false)
	if err != nil {
		return err
	}
	p.Header = h
	if h.Incompatible&IncompatDataFile != 0 {
		if p.Data, err = r.Child(ctx, "data-file", engine.RoleData); err != nil {
			return err
		}
		if name := h.Text(ExtDataFile); p.Data == nil && name != "" && !r.Flags.NoIO {
			if p.Data, err = r.Reference(ctx, engine.RoleData, name, ""); err != nil {
				return err
			}
		}
	}
	if v, ok := r.Opts.Get("backing"); ok && v.Kind() == opts.KindNull {
		r.Opts.Take("backing")
		return nil
	}
	if r.Opts.Has("backing") {
		p.Backing, err = r.Child(ctx, "backing", engine.RoleBacking)
		return err
	}
	if h.BackingFile != "" && !r.Flags.NoBacking {
		p.Backing, err = r.Reference(ctx, engine.RoleBacking, h.BackingFile, h.Text(ExtBackingFormat))
	}
	return err
}

func (p *Parts) close() {
	for _, r := range []*engine.Ref{p.Data, p.Backing, p.File} {
		if r != nil {
			_ = r.Close()
		}
	}
}

// Params turns options into what an image is made from.
func (o *CreateOptions) Params(size int64) (CreateParams, error) {
	p := CreateParams{
		Version: 3, Size: size, ClusterSize: o.ClusterSize, RefcountBits: o.RefcountBits, Lazy: o.LazyRefcounts.On,
		ExtendedL2: o.ExtendedL2.On, Zstd: o.CompressionType == "zstd", BackingFile: o.BackingFile, BackingFormat: o.BackingFmt,
		DataFile: o.DataFile, DataFileRaw: o.DataFileRaw.On, Prealloc: engine.Prealloc(o.Preallocation),
	}
	if o.Compat == "0.10" || o.Compat == "v2" {
		p.Version = 2
	}
	if o.Encryption.On || (o.Encrypt != nil && o.Encrypt.Len() > 0) {
		method := "aes"
		if o.Encrypt != nil {
			if f, ok := o.Encrypt.String("format"); ok {
				method = f
			}
		}
		return p, engine.Errf(engine.ErrUnsupported, "encrypted images (encrypt.format=%s) cannot be made", method)
	}
	return p, p.Validate()
}

func create(ctx context.Context, r *engine.CreateRequest, o *CreateOptions) error {
	size := r.Size
	if size < 0 && r.BackingSize >= 0 {
		size = r.BackingSize
	}
	p, err := o.Params(size)
	if err != nil {
		return err
	}
	var data *engine.Ref
	if p.DataFile != "" {
		if data, err = createDataFile(ctx, r, p.DataFile); err != nil {
			return err
		}
		defer data.Close()
	}
	if err := Format(ctx, r.File, data, p); err != nil {
		return errors.Join(err, removeDataFile(ctx, r, p.DataFile))
	}
	return nil
}

// removeDataFile takes the data file back when the image could not be made.
func removeDataFile(ctx context.Context, r *engine.CreateRequest, name string) error {
	if name == "" {
		return nil
	}
	t, err := opts.ParseName(engine.ResolveName(r.Filename, name))
	if err != nil {
		return err
	}
	return r.Env.Remove(ctx, t)
}

// createDataFile makes the external data file beside the image.
func createDataFile(ctx context.Context, r *engine.CreateRequest, name string) (*engine.Ref, error) {
	full := engine.ResolveName(r.Filename, name)
	t, err := opts.ParseName(full)
	if err != nil {
		return nil, engine.Errf(engine.ErrOption, "data_file: %v", err)
	}
	protocol := "file"
	if d := t.Driver(); d != "" {
		protocol = d
	}
	if d, err := r.Env.Registry.Lookup(protocol); err == nil && d.CanCreate() {
		if err := r.Env.Create(ctx, protocol, t.Clone(), full, 0, opts.NewTree(), r.Flags); err != nil {
			return nil, err
		}
	}
	flags := r.Flags
	flags.Write = true
	return r.Env.OpenTree(ctx, t, full, protocol, flags)
}
