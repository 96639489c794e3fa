-- One call decides one batch of operations on one cell, in their order.
--
-- KEYS   the cell's keys, all in one hash slot:
--   1 stock      HASH sku -> available reserved committed due, 8 bytes each, the high byte first: due not later than the
--                expiry of its soonest open reservation, unix ms, or 0 where `due` does not have it
--   2 holds      HASH id -> the record of a reservation with an id of the client's, or that was moved (lib/holds.lua)
--   3 open       ZSET of equal scores: one member for each open reservation of `holds` and each lot that has open ones, by
--                SKU, the soonest to expire first
--   4 due        ZSET sku -> unix ms, not later than its soonest open reservation's expiry
--   5 ended      ZSET 'h'..id, 'l'..lot or 'o'..key -> unix ms from which on that record is forgotten
--   6 ops        HASH key -> what an operation without a record of its own answered (lib/ops.lua)
--   7 protected  SET of SKUs
--   8 meta       HASH protected_version -> grows with each change of protected
--   9 lots       HASH lot -> the reservations that one call made together (lib/lots.lua); 'f'..batch -> its sendings
-- ARGV   1 remember, ms: how long an ended reservation is remembered
--        2 ops_memory, ms: how long an operation's token is remembered
--        3 settle_max: at most so many overdue reservations are taken back by this call
--        4 batch: names the batch, the same at each sending of it
--        5 attempt: 1 for its first sending, then 2, 3, …
--        6 letters: those of the batch's operations but r, c and b, each at least once; only these are defined
--          (inventory/script.rs)
--        then the operations: a letter (ops/*.lua) and its arguments
-- Output 0: a later sending of this batch was here before this one, and this one must do nothing; else
--        { now in unix ms, reservations expired by this call, { one result for each operation } }
--   Fewer results than operations: the call met settle_max; it did not execute the rest, which is to be sent again.
--   A result is an integer, an array of values, or an array that begins with the error's word.
-- Order  all that can fail is read before the first write (lib/flush.lua), so an error leaves all as it was.
-- Locals are found faster than globals.
local KEYS, ARGV, unpack, tonumber, ipairs, pairs, type, next = KEYS, ARGV, unpack, tonumber, ipairs, pairs, type, next
local call, sub, match, format = redis.call, string.sub, string.match, string.format
local KEY_STOCK, KEY_HOLDS, KEY_OPEN, KEY_DUE = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local KEY_ENDED, KEY_OPS, KEY_PROTECTED, KEY_META, KEY_LOTS = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local remember_ms, batch, letters = ARGV[1] + 0, 'f' .. ARGV[4], ARGV[6]
local FIRST_OPERATION = 7
local unpack_number, pack_number = struct.unpack, struct.pack
local STOCK = '>i8i8i8i8'
