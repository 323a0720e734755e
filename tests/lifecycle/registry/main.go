// A container registry on the loopback address, which keeps what it is given in memory: what "make push" pushes to in
// the tests. Prints its address once it listens.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(listener.Addr())
	quiet := registry.Logger(log.New(io.Discard, "", 0))
	fmt.Fprintln(os.Stderr, http.Serve(listener, registry.New(quiet)))
	os.Exit(1)
}
