// Package inspect looks at directories of logs while no broker has them: Verify checks all there is and says what a broker
// will do about what is wrong, Dump prints files in a form that people and programs can read.
//
// Neither writes, repairs or makes anything in a directory, nor leaves a trace of having been there. What storage knows of
// its own files it tells itself (storage.Inspection); this package adds the catalog, which says what topics there are to
// be, and the output.
package inspect
