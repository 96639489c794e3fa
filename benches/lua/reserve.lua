-- The plain script that the sidecar is compared with: one reservation a call, no record of tokens, nothing is given back by
-- itself, no bounds.
-- KEYS: stock (hash: avail, held, sold), holds (hash: id -> "quantity:expires"), expiry (sorted set). ARGV: quantity, ttl ms, id.
-- Output: the id, or nil where there is not enough.
local stock, holds, expiry = KEYS[1], KEYS[2], KEYS[3]
local quantity, id = tonumber(ARGV[1]), ARGV[3]
if tonumber(redis.call('HGET', stock, 'avail') or '0') < quantity then return false end
local t = redis.call('TIME')
local expires = t[1] * 1000 + math.floor(t[2] / 1000) + tonumber(ARGV[2])
redis.call('HINCRBY', stock, 'avail', -quantity)
redis.call('HINCRBY', stock, 'held', quantity)
redis.call('HSET', holds, id, ARGV[1] .. ':' .. string.format('%d', expires))
redis.call('ZADD', expiry, expires, id)
return id
