-- All writes of the call. Nothing may fail after the first of them: stock, lots, holds, ops, protected and meta were read
-- before; of the others those that are only taken from are read here; those that are added to come first, where an entry
-- too many does no harm.
local function flush()
  local open_remove, open_remove_n = names(open_removed)
  local ended_remove, ended_remove_n = names(ended_removed)
  local due_read, due_read_n = names(due_exact)
  -- Fails now where the key is of another type.
  if open_remove_n > 0 then call('ZCARD', KEY_OPEN) end
  if ended_remove_n > 0 then call('ZCARD', KEY_ENDED) end
  if due_read_n > 0 then call('ZCARD', KEY_DUE) end

  for sku, expires in pairs(due_earlier) do
    local s = stock_of(sku)
    if s.due == 0 or expires < s.due then
      call('ZADD', KEY_DUE, 'LT', format('%.0f', expires), sku)
      s.due = expires
      stock_changed[sku] = true
    end
  end
  write('ZADD', KEY_OPEN, open_add, open_add_n)
  write('ZADD', KEY_ENDED, ended_add, ended_add_n)

  write('HDEL', KEY_LOTS, lots_forgotten, #lots_forgotten)
  write('HDEL', KEY_OPS, ops_forgotten, #ops_forgotten)
  local list, n = {}, 0
  for id, bytes in pairs(lots_made) do
    list[n + 1], list[n + 2] = id, bytes
    n = n + 2
  end
  for id in pairs(lots_changed) do
    list[n + 1], list[n + 2] = id, lot_encode(lots[id])
    n = n + 2
  end
  for name in pairs(logs_changed) do
    list[n + 1], list[n + 2] = name, logs[name]
    n = n + 2
  end
  write('HSET', KEY_LOTS, list, n)
  if flush_records then flush_records() end
  if next(ops_new) then
    local keys, keys_n = names(ops_new)
    for i = 1, keys_n do call('HSET', KEY_OPS, keys[i], cmsgpack.pack(ops[keys[i]])) end
  end
  if protected then flush_protected() end

  write('ZREM', KEY_OPEN, open_remove, open_remove_n)
  write('ZREM', KEY_ENDED, ended_remove, ended_remove_n)
  for i = 1, due_read_n do
    local sku = due_read[i]
    local prefix, s = open_prefix(sku), stock_of(sku)
    local member = call('ZRANGEBYLEX', KEY_OPEN, '[' .. prefix, '(' .. prefix .. '\255', 'LIMIT', 0, 1)[1]
    if member then
      local due = unpack_number('>I6', member, #prefix + 1)
      call('ZADD', KEY_DUE, format('%.0f', due), sku)
      if s then s.due = due end
    else
      call('ZREM', KEY_DUE, sku)
      if s then s.due = 0 end
    end
    if s then stock_changed[sku] = true end
  end
  list, n = {}, 0
  for sku in pairs(stock_changed) do
    local s = stock[sku]
    list[n + 1], list[n + 2] = sku, pack_number(STOCK, s.available, s.reserved, s.committed, s.due)
    n = n + 2
  end
  write('HSET', KEY_STOCK, list, n)
end
