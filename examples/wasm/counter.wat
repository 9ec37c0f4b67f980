;; SPDX-License-Identifier: Apache-2.0
;; A counter. Adding doesn't read, so any number of increments run at the same time.
;;
;;   increment()                what anybody may do
;;   count() returns (uint256)
;;
;; It is called as the ABI of Solidity says: four bytes of selector, the first of keccak256 of the signature.
(module
  (import "parsec" "input_size" (func $input_size (result i32)))
  (import "parsec" "input" (func $input (param $to i32) (param $offset i32) (param $size i32)))
  (import "parsec" "output" (func $output (param $start i32) (param $size i32)))
  (import "parsec" "revert" (func $revert (param $start i32) (param $size i32)))
  (import "parsec" "read" (func $read (param $key i32) (param $key_size i32) (param $to i32) (param $most i32)
    (result i32)))
  (import "parsec" "add" (func $add (param $key i32) (param $key_size i32) (param $amount i32)))

  (memory (export "memory") 1)
  (data (i32.const 0) "count")       ;; the key, 5 bytes
  (data (i32.const 63) "\01")        ;; one, as 32 bytes from 32 on
  ;; 64: the selector; 96: 32 bytes that stay zero, then, from 128 on, 32 bytes for the value

  (func (export "call") (local $size i32)
    (if (i32.lt_u (call $input_size) (i32.const 4)) (then (call $revert (i32.const 0) (i32.const 0))))
    (call $input (i32.const 64) (i32.const 0) (i32.const 4))
    ;; the memory is read lowest byte first
    (if (i32.eq (i32.load (i32.const 64)) (i32.const 0x8ae09dd0))  ;; increment(): d09de08a
      (then
        (call $add (i32.const 0) (i32.const 5) (i32.const 32))
        (return)))
    (if (i32.eq (i32.load (i32.const 64)) (i32.const 0xbd1a6606))  ;; count(): 06661abd
      (then
        ;; The value has no zeros in front: it is put so that it ends where a word ends.
        (local.set $size (call $read (i32.const 0) (i32.const 5) (i32.const 128) (i32.const 32)))
        (call $output (i32.add (i32.const 96) (local.get $size)) (i32.const 32))
        (return)))
    (call $revert (i32.const 0) (i32.const 0))))
