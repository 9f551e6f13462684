// Package fiojob reads fio's job language: job files, command lines and the
// keys in them, and turns them into typed, resolved jobs. It is pure: it opens
// nothing but what its Env hands it, starts nothing and measures nothing.
//
// Four nouns:
//
//   - Option: one key of the language, a row of the table (Options). The row
//     holds the names, the kind of value, fio's default and range, the help, and
//     what this program does with the key: honours it, treats it as something
//     it does anyway, or refuses it, always with a reason. Parsing, help,
//     defaults and docs/fio-keys.md are all read off the same rows.
//   - Section: the keys of one [name] of a job file or one --name of a command
//     line, with the place each was written.
//   - Job: a section resolved against the globals in force where it stands.
//   - Plan: the jobs of one run in their order, their groups, and the options
//     of the run itself.
//
// The reference is fio 3.33, its manual and its behaviour; keys of later
// versions carry the version in their row. Where they differ, behaviour wins
// unless it silently does something nobody asked for. Differences by intent:
//
//   - A key or value is never ignored without a word. fio reads bs=4q as four
//     bytes, 1.5g as one byte and runtime=10min as ten microseconds; here these
//     are errors. runtime=10sec is ten seconds, as fio's manual has it.
//   - Blanks around '=' are allowed on both sides.
//   - A bare boolean (direct) means 1; fio asks for a value.
//   - Options of an I/O engine may stand before the ioengine that has them.
//   - A refused key that is set to its default asks for nothing and passes.
//   - Every error of a run is reported, not only the first, with its place.
//   - The rules between keys are checked by --parse-only too.
//   - Clones of numjobs are numbered upwards (fio numbers 0, n-1, …, 1).
//   - include looks in the folder of the including file before the current one,
//     and leaves the job file's folder only with --allow-include.
//   - A filename that is a target of this program (scheme://…, json:{…},
//     driver=…) is one name: its colons do not separate.
//   - ${VAR} is replaced in values only, not in keys.
package fiojob
