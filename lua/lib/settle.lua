-- Giving back what is overdue, and what a refusal says.
local settle, soonest, refusal

local function define_settling()
  if settle then return end
  define_records()

  -- Takes back what is overdue of one SKU, `limit` reservations at most.
  -- Returns whether nothing overdue is left, and how many it took back.
  settle = function(sku, limit)
    if settled[sku] then return true, 0 end
    local prefix, taken, offset = open_prefix(sku), 0, 0
    local from, to, at = '[' .. prefix, '(' .. prefix .. open_time(now + 1), #prefix + TIME_LENGTH + 1
    while true do
      local room = math.min(PAGE, limit - taken, settle_left)
      if room <= 0 then return false, taken end
      -- Nothing is written before the end of the call, so what this call took back is still there: step over it.
      local page = call('ZRANGEBYLEX', KEY_OPEN, from, to, 'LIMIT', offset, room)
      local page_n, ids, ids_n, lot_ids, lot_n = #page, {}, 0, {}, 0
      for i = 1, page_n do
        local id = sub(page[i], at + 1)
        if sub(page[i], at, at) == 'l' then
          lot_n = lot_n + 1
          lot_ids[lot_n] = id
        else
          ids_n = ids_n + 1
          ids[ids_n] = id
        end
      end
      holds_read(ids, ids_n)
      lots_read(lot_ids, lot_n)
      if page_n > 0 then due_exact[sku] = true end
      for i = 1, page_n do
        local member = page[i]
        if not open_removed[member] then
          local id = sub(member, at + 1)
          local lot = sub(member, at, at) == 'l' and lot_of(id)
          local h = not lot and hold_record(id)
          if lot then
            local took = lot_expire(id, lot, math.min(limit - taken, settle_left))
            taken, settle_left = taken + took, settle_left - took
            if lot.open > 0 then return false, taken end
            open_removed[member] = true
          elseif h and h.state == 'o' and h.expires <= now then
            if taken >= limit or settle_left <= 0 then return false, taken end
            hold_expire(id, h)
            taken, settle_left = taken + 1, settle_left - 1
          else
            open_removed[member] = true -- a left-over that holds nothing
          end
        end
      end
      offset = offset + page_n
      if page_n < room then
        settled[sku] = true
        return true, taken
      end
    end
  end

  -- When the soonest open reservation of the SKU expires, unix ms; false where none is open. After settle.
  soonest = function(sku)
    local known = soonest_known[sku]
    if known ~= nil then return known end
    local prefix, best, offset = open_prefix(sku), false, 0
    local from, to = '[' .. prefix .. open_time(now + 1), '(' .. prefix .. '\255'
    local time_from = #prefix + 1
    repeat
      local page = call('ZRANGEBYLEX', KEY_OPEN, from, to, 'LIMIT', offset, 16)
      offset = offset + #page
      for _, member in ipairs(page) do
        if not best and not open_removed[member] then best = unpack_number('>I6', member, time_from) end
      end
    until best or #page < 16
    if due_earlier[sku] and (not best or due_earlier[sku] < best) then
      -- One that this call added may be the soonest, if it was not taken away again.
      for i = 2, open_add_n, 2 do
        local member = open_add[i]
        if sub(member, 1, #prefix) == prefix and not open_removed[member] then
          local expires = unpack_number('>I6', member, time_from)
          if not best or expires < best then best = expires end
        end
      end
    end
    soonest_known[sku] = best
    return best
  end

  -- The refusal for lack of stock, true at this instant; nil where there is enough; STOP where it cannot be said yet.
  refusal = function(sku, s, quantity)
    if s.available >= quantity then return nil end
    if not settle(sku, NUMBER_MAX) then return STOP end
    if s.available >= quantity then return nil end
    local expires = soonest(sku)
    return { 'INSUFFICIENTSTOCK', quantity, s.available, expires and expires - now or -1 }
  end
end
