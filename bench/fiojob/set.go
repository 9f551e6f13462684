package fiojob

import "time"

// draft is a job that is being put together.
type draft struct {
	Job
	given      map[string]Pos // where each key that was set stands, by canonical name
	engineKeys []engineKey    // of global sections
	noEngine   bool           // the engine asked for was refused
	res        *resolver      // for the few setters that need more than their value
}

// setter stores a parsed value. An error is about the value; its place and key
// are added by the caller.
type setter func(d *draft, v value) error

func intTo[T ~int | ~int64](field func(*Job) *T) setter {
	return func(d *draft, v value) error {
		*field(&d.Job) = T(v.ints[0])
		return nil
	}
}

func boolTo(field func(*Job) *bool) setter {
	return func(d *draft, v value) error {
		*field(&d.Job) = v.ints[0] != 0
		return nil
	}
}

// intsTo stores integers by direction.
func intsTo[T ~int | ~int64](field func(*Job) *PerDir[T]) setter {
	return func(d *draft, v value) error {
		f := field(&d.Job)
		for dir := range v.has {
			if v.has[dir] {
				f[dir] = T(v.ints[dir])
			}
		}
		return nil
	}
}

func timeTo(field func(*Job) *time.Duration) setter {
	return func(d *draft, v value) error {
		*field(&d.Job) = v.durs[0]
		return nil
	}
}

func timesTo(field func(*Job) *PerDir[time.Duration]) setter {
	return func(d *draft, v value) error {
		f := field(&d.Job)
		for dir := range v.has {
			if v.has[dir] {
				f[dir] = v.durs[dir]
			}
		}
		return nil
	}
}

// millisTo stores an integer number of milliseconds.
func millisTo(field func(*Job) *time.Duration) setter {
	return func(d *draft, v value) error {
		*field(&d.Job) = time.Duration(v.ints[0]) * time.Millisecond
		return nil
	}
}

func spanTo(field func(*Job) *Span) setter {
	return func(d *draft, v value) error {
		*field(&d.Job) = Span{v.durs[0], v.durs[1]}
		return nil
	}
}

func amountTo(field func(*Job) *Amount) setter {
	return func(d *draft, v value) error {
		*field(&d.Job) = v.amount
		return nil
	}
}

func stringTo(field func(*Job) *string) setter {
	return func(d *draft, v value) error {
		*field(&d.Job) = v.raw
		return nil
	}
}

func enumTo[T ~uint8](field func(*Job) *T) setter {
	return func(d *draft, v value) error {
		*field(&d.Job) = T(v.choice.Code)
		return nil
	}
}

func floatTo(field func(*Job) *float64) setter {
	return func(d *draft, v value) error {
		*field(&d.Job) = v.floats[0]
		return nil
	}
}

func listTo(field func(*Job) *[]string) setter {
	return func(d *draft, v value) error {
		*field(&d.Job) = v.list
		return nil
	}
}

func cpusTo(field func(*Job) *[]int) setter {
	return func(d *draft, v value) error {
		*field(&d.Job) = v.cpus
		return nil
	}
}

// logTo switches a log on; its value is the prefix of the file's name.
func logTo(field func(*Job) *LogFile) setter {
	return func(d *draft, v value) error {
		*field(&d.Job) = LogFile{On: true, Name: v.raw}
		return nil
	}
}
