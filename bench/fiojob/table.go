package fiojob

import "slices"

// categories are the rows of the table in the order they are printed.
var categories = []struct {
	cat  Category
	rows []Option
}{
	{CatJob, jobOptions},
	{CatTime, timeOptions},
	{CatFile, fileOptions},
	{CatIO, ioOptions},
	{CatBlock, blockOptions},
	{CatBuffer, bufferOptions},
	{CatDepth, depthOptions},
	{CatRate, rateOptions},
	{CatLatency, latencyOptions},
	{CatVerify, verifyOptions},
	{CatReplay, replayOptions},
	{CatZone, zoneOptions},
	{CatCPU, cpuOptions},
	{CatError, errorOptions},
	{CatReport, reportOptions},
	{CatLog, logOptions},
	{CatEngine, engineOptions},
	{CatOther, otherOptions},
}

// table is every option, in order, and by each of its names.
var table, byName = buildTable()

func buildTable() ([]*Option, map[string]*Option) {
	var all []*Option
	index := map[string]*Option{}
	for _, c := range categories {
		for i := range c.rows {
			o := &c.rows[i]
			o.Category = c.cat
			all = append(all, o)
			for _, name := range o.Names() {
				index[name] = o
			}
		}
	}
	return all, index
}

// Options returns the table: every key this program knows, by category. The
// caller must not change what it points to.
func Options() []*Option { return slices.Clone(table) }

// Lookup finds an option by its name or an alias.
func Lookup(name string) (*Option, bool) {
	o, ok := byName[name]
	return o, ok
}

// knownNames are the names to suggest for a misspelt one: those that work first.
func knownNames() []string {
	var names, refused []string
	for _, o := range table {
		if o.Status == Refused {
			refused = append(refused, o.Names()...)
			continue
		}
		names = append(names, o.Names()...)
	}
	return append(names, refused...)
}
