-- The easy way: a first sending of nothing but reservations, commits and rollbacks of lots, in which nothing is overdue, unknown
-- or ended before. A sale consists of them. To define all that the other cases need costs the upstream more than to execute
-- these, so they are decided here, in one piece, as ops/*.lua would; where one of them is not easy nothing was written yet,
-- and the call goes the long way. What a first sending reserves is in lots that no call has made before.

-- In so many ms the soonest open reservation of the SKU expires, -1 where none is open; `due` as the SKU's stock has it.
local function retry_of(sku, due)
  if due == 0 then return -1 end
  local prefix = #sku .. ':' .. sku .. ':'
  local soonest = call('ZRANGEBYLEX', KEY_OPEN, '[' .. prefix, '(' .. prefix .. '\255', 'LIMIT', 0, 1)[1]
  return soonest and unpack_number('>I6', soonest, #prefix + 1) - now or -1
end

local function easy()
  local n, at, asked, asked_n = #ARGV, FIRST_OPERATION, { batch }, 1
  -- Of what is asked for: where the lots stand; and of the logs where theirs stand, and what they are to be told.
  local lots, lots_n, slots, lot_of_log, logs, logs_n, ends = {}, 0, {}, {}, {}, 0, {}
  local indices, tokens, counts, masks = {}, {}, {}, {}
  while at <= n do
    if ARGV[at] == 'r' then
      if ARGV[at + 4] + remember_ms <= now then return nil end
      at = at + 6
    else
      local commits, list, from, size = ARGV[at] == 'c', ARGV[at + 1], 1, #ARGV[at + 1]
      while from <= size do
        local id
        logs_n = logs_n + 1
        if commits then
          id, indices[logs_n], tokens[logs_n], counts[logs_n], masks[logs_n], from = unpack_number(COMMITS, list, from)
        else
          id, indices[logs_n], counts[logs_n], masks[logs_n], from = unpack_number(ROLLBACKS, list, from)
        end
        local slot, log = slots[id], id .. char(indices[logs_n])
        if slots[log] then return nil end
        if not slot then
          asked_n, lots_n = asked_n + 1, lots_n + 1
          slot = asked_n
          slots[id], asked[slot], lots[lots_n] = slot, id, slot
        end
        asked_n = asked_n + 1
        slots[log], asked[asked_n], logs[logs_n], lot_of_log[logs_n] = asked_n, log, asked_n, slot
      end
      ends[at] = logs_n
      at = at + 2
    end
  end
  if asked_n > 2500 then return nil end
  local found = call('HMGET', KEY_LOTS, unpack(asked))
  if found[1] then return nil end

  -- The SKUs, and the heads of the lots.
  local skus, skus_n, stock, open, places, open_masks, skus_of = {}, 0, {}, {}, {}, {}, {}
  for i = 1, lots_n do
    local slot = lots[i]
    local bytes = found[slot]
    if not bytes then return nil end
    local _, expires, count, left, length, from = unpack_number(LOT_HEAD, bytes)
    if expires <= now then return nil end
    local behind = from + 2 * floor((count + LOG_PLACES - 1) / LOG_PLACES)
    local sku = sub(bytes, behind, behind + length - 1)
    places[slot], open[slot], open_masks[slot], skus_of[slot] = count, left, sub(bytes, from, behind - 1), sku
    if not stock[sku] then
      stock[sku] = true
      skus_n = skus_n + 1
      skus[skus_n] = sku
    end
  end
  at = FIRST_OPERATION
  while at <= n do
    if ARGV[at] == 'r' then
      local sku = ARGV[at + 2]
      if not stock[sku] then
        stock[sku] = true
        skus_n = skus_n + 1
        skus[skus_n] = sku
      end
      at = at + 6
    else
      at = at + 2
    end
  end
  local texts = call('HMGET', KEY_STOCK, unpack(skus))
  for i = 1, skus_n do
    if not texts[i] then return nil end
    stock[skus[i]] = { unpack_number(STOCK, texts[i]) }
  end

  local results, results_n, made, made_n, added, added_n = {}, 0, {}, 0, {}, 0
  local removed, removed_n, ended, ended_n, dues, done, emptied = {}, 0, {}, 0, nil, 0, false
  at = FIRST_OPERATION
  while at <= n do
    local letter, result = ARGV[at], 1
    if letter == 'r' then
      local id, sku, runs, expires = ARGV[at + 1], ARGV[at + 2], ARGV[at + 5], now + ARGV[at + 3]
      local s = stock[sku]
      local available, parts, parts_n, reserved, reserved_n = s[1], {}, 0, {}, 0
      local all, accepted, refused_n, retry = 0, 0, 0, nil
      for from = 1, #runs, 6 do
        local count, quantity = unpack_number('>I2I4', runs, from)
        local fit = count
        if quantity == 0 then return nil end
        if available < count * quantity then
          -- Something may be overdue, or the soonest expiry may be changed by this call.
          if s[4] ~= 0 and s[4] <= now or emptied then return nil end
          fit = floor(available / quantity)
          if fit < 0 then fit = 0 end
          retry = retry or retry_of(sku, s[4])
          if retry < -1 then return nil end
        end
        parts_n = parts_n + 1
        parts[parts_n] = rep(sub(runs, from + 2, from + 5), count)
        if fit > 0 then
          mask_add(reserved, all, fit)
          available, reserved_n = available - fit * quantity, reserved_n + fit
          s[1], s[2], accepted = available, s[2] + fit * quantity, accepted + fit
        end
        if fit < count then
          if result == 1 then result = {} end
          local wait = retry
          -- Of this call's own.
          local own = dues and dues[sku]
          if reserved_n > 0 and (not own or expires < own) then own = expires end
          if own and (wait < 0 or own - now < wait) then wait = own - now end
          if accepted == 0 and refused_n > 0 and result[refused_n - 1] == available and result[refused_n] == wait then
            result[refused_n - 2] = result[refused_n - 2] + count - fit
          else
            result[refused_n + 1], result[refused_n + 2] = accepted, count - fit
            result[refused_n + 3], result[refused_n + 4] = available, wait
            refused_n, accepted = refused_n + 4, 0
          end
        end
        all = all + count
      end
      if reserved_n > 0 then
        made[made_n + 1] = id
        made[made_n + 2] = lot_new(expires, sku, table.concat(parts), all, reserved_n, reserved)
        added[added_n + 1] = '0'
        added[added_n + 2] = #sku .. ':' .. sku .. ':' .. pack_number('>I6', expires) .. 'l' .. id
        made_n, added_n = made_n + 2, added_n + 2
        dues = dues or {}
        if not dues[sku] or expires < dues[sku] then dues[sku] = expires end
      end
      at = at + 6
    else
      local state = letter == 'c' and 'c' or 'r'
      while done < ends[at] do
        done = done + 1
        local slot, log, mask, count, index = lot_of_log[done], logs[done], masks[done], counts[done], indices[done]
        local bytes, sku, all, packed = found[slot], skus_of[slot], open_masks[slot], pack_number('>I2', mask)
        if index * LOG_PLACES >= places[slot] then return nil end
        local before = unpack_number('>I2', all, 2 * index + 1)
        if band(before, mask) ~= mask then return nil end
        local rest = pack_number('>I2', before - mask)
        if #all > 2 then rest = sub(all, 1, 2 * index) .. rest .. sub(all, 2 * index + 3) end
        open_masks[slot] = rest
        local base, sum = 19 + #all + #sku, 0
        if #bytes == base + 3 then
          sum = unpack_number('>I4', bytes, base) * count
        else
          for place = 0, LOG_PLACES - 1 do
            if band(mask, 2 ^ place) ~= 0 then
              sum = sum + unpack_number('>I4', bytes, base + 4 * (index * LOG_PLACES + place))
            end
          end
        end
        local s = stock[sku]
        s[2] = s[2] - sum
        if state == 'c' then s[3] = s[3] + sum else s[1] = s[1] + sum end
        made[made_n + 1] = asked[log]
        made[made_n + 2] = (found[log] or '') .. state .. now_packed .. (tokens[done] or NO_TOKEN) .. packed
        made_n = made_n + 2
        open[slot] = open[slot] - count
        if open[slot] == 0 then emptied = true end
      end
      at = at + 2
    end
    results_n = results_n + 1
    results[results_n] = result
  end

  for i = 1, lots_n do
    local slot = lots[i]
    local id, bytes, sku, left, all = asked[slot], found[slot], skus_of[slot], open[slot], open_masks[slot]
    made[made_n + 1] = id
    made[made_n + 2] = sub(bytes, 1, 14) .. pack_number('>I2', left) .. sub(bytes, 17, 18) .. all .. sub(bytes, 19 + #all)
    made_n = made_n + 2
    if left == 0 then
      removed_n = removed_n + 1
      removed[removed_n] = #sku .. ':' .. sku .. ':' .. sub(bytes, 7, 12) .. 'l' .. id
      ended[ended_n + 1], ended[ended_n + 2] = now + remember_ms, 'l' .. id
      ended_n = ended_n + 2
    end
  end

  -- Nothing may fail after the first write: see lib/flush.lua.
  if removed_n > 0 and added_n == 0 then call('ZCARD', KEY_OPEN) end
  if dues then
    for sku, expires in pairs(dues) do
      local s = stock[sku]
      if s[4] == 0 or expires < s[4] then
        call('ZADD', KEY_DUE, 'LT', expires, sku)
        s[4] = expires
      end
    end
  end
  if added_n > 0 then call('ZADD', KEY_OPEN, unpack(added)) end
  if ended_n > 0 then call('ZADD', KEY_ENDED, unpack(ended)) end
  if removed_n > 0 then call('ZREM', KEY_OPEN, unpack(removed)) end
  if made_n > 0 then
    call('HSET', KEY_LOTS, unpack(made))
    local list = {}
    for i = 1, skus_n do
      local s = stock[skus[i]]
      list[2 * i - 1], list[2 * i] = skus[i], pack_number(STOCK, s[1], s[2], s[3], s[4])
    end
    call('HSET', KEY_STOCK, unpack(list))
  end
  return { now, 0, results }
end

-- The same where it is but reservations of one SKU and one quantity, and there is enough for all or for none.
local function easiest()
  local id, sku, runs = ARGV[8], ARGV[9], ARGV[12]
  local record = call('HGET', KEY_STOCK, sku)
  if not record or ARGV[11] + remember_ms <= now or call('HEXISTS', KEY_LOTS, batch) == 1 then return nil end
  local count, quantity = unpack_number('>I2I4', runs)
  local available, reserved, committed, due = unpack_number(STOCK, record)
  local taken, expires = count * quantity, now + ARGV[10]
  if quantity == 0 then return nil end
  if available < taken then
    if available >= quantity or due ~= 0 and due <= now then return nil end
    local retry = retry_of(sku, due)
    if retry < -1 then return nil end
    return { now, 0, { { 0, count, available, retry } } }
  end
  if due == 0 or expires < due then
    due = expires
    call('ZADD', KEY_DUE, 'LT', due, sku)
  end
  local packed, length, rest = pack_number('>I6', expires), #sku, count % LOG_PLACES
  local masks = rest > 0 and pack_number('>I2', 2 ^ rest - 1) or ''
  if count >= LOG_PLACES then masks = rep('\255', 2 * floor(count / LOG_PLACES)) .. masks end
  call('ZADD', KEY_OPEN, 0, length .. ':' .. sku .. ':' .. packed .. 'l' .. id)
  call('HSET', KEY_LOTS, id,
    now_packed .. packed .. pack_number('>I2I2I2', count, count, length) .. masks .. sku .. sub(runs, 3, 6))
  call('HSET', KEY_STOCK, sku, pack_number(STOCK, available - taken, reserved + taken, committed, due))
  return { now, 0, { 1 } }
end

if letters == '' and ARGV[5] == '1' then
  local result
  if #ARGV == 12 and ARGV[7] == 'r' and #ARGV[12] == 6 then result = easiest() end
  if not result and #ARGV <= 3000 then result = easy() end
  if result then return result end
end
